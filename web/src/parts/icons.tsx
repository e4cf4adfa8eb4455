import type { ReactNode } from 'react'

/** Icons beside words, so they say nothing by themselves. */
const icon = (children: ReactNode) => () => (
  <svg className="icon" viewBox="0 0 24 24" aria-hidden="true">
    {children}
  </svg>
)

export const HomeIcon = icon(<path d="M4 11 12 4l8 7v8.5a.5.5 0 0 1-.5.5H15v-6H9v6H4.5a.5.5 0 0 1-.5-.5z" />)
export const CalendarIcon = icon(
  <>
    <rect x="4" y="5.5" width="16" height="14.5" rx="2" />
    <path d="M4 10h16M8.5 3.5v4M15.5 3.5v4" />
  </>,
)
export const PeopleIcon = icon(
  <>
    <circle cx="9" cy="8.5" r="3.5" />
    <path d="M2.5 20c.5-3.5 3-5.5 6.5-5.5s6 2 6.5 5.5M15.5 5.3a3.5 3.5 0 0 1 0 6.4M18 15c2 .8 3.2 2.5 3.5 5" />
  </>,
)
export const DevicesIcon = icon(
  <>
    <rect x="3" y="5" width="13" height="10" rx="1.5" />
    <path d="M1.5 18.5H12" />
    <rect x="15" y="10" width="6.5" height="10.5" rx="1.5" />
  </>,
)
export const KeyIcon = icon(
  <>
    <circle cx="8" cy="15.5" r="4" />
    <path d="m11 12.5 8.5-8.5M16 7.5l2.5 2.5" />
  </>,
)
export const MachineIcon = icon(
  <>
    <rect x="4" y="4" width="16" height="6.5" rx="1.5" />
    <rect x="4" y="13.5" width="16" height="6.5" rx="1.5" />
    <path d="M7.5 7.2v.1M7.5 16.7v.1M11 7.2h5.5M11 16.7h5.5" />
  </>,
)
export const PasskeyIcon = icon(
  <>
    <circle cx="9" cy="7.5" r="3.5" />
    <path d="M2.5 19c.5-3.5 3-5.5 6.5-5.5 1 0 1.9.2 2.7.5" />
    <circle cx="17" cy="12.5" r="3" />
    <path d="M17 15.5V21l2-1.5M17 18.5l1.5-1" />
  </>,
)
export const SignOutIcon = icon(
  <path d="M14 4.5H6A1.5 1.5 0 0 0 4.5 6v12A1.5 1.5 0 0 0 6 19.5h8M10 12h10.5m-3.5-3.5 3.5 3.5-3.5 3.5" />,
)
export const SunIcon = icon(
  <>
    <circle cx="12" cy="12" r="4" />
    <path d="M12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M5.3 18.7l1.4-1.4M17.3 6.7l1.4-1.4" />
  </>,
)
export const MoonIcon = icon(<path d="M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z" />)
export const WebhookIcon = icon(
  <>
    <circle cx="5.5" cy="17" r="2.5" />
    <circle cx="18.5" cy="17" r="2.5" />
    <circle cx="12" cy="6" r="2.5" />
    <path d="M8 17h8M10.9 8.3 6.7 14.8M13.1 8.3l4.2 6.5" />
  </>,
)
export const PlusIcon = icon(<path d="M12 5v14M5 12h14" />)
export const SearchIcon = icon(
  <>
    <circle cx="11" cy="11" r="6.5" />
    <path d="m16 16 4.5 4.5" />
  </>,
)
export const CloseIcon = icon(<path d="m6 6 12 12M18 6 6 18" />)
export const AlertIcon = icon(
  <>
    <circle cx="12" cy="12" r="9" />
    <path d="M12 7.5v5.5M12 16.4v.1" />
  </>,
)
export const RefreshIcon = icon(<path d="M20 11.5A8 8 0 1 0 18 17.3M20 5v6.5h-6.5" />)
export const MonitorIcon = icon(
  <>
    <rect x="3" y="4.5" width="18" height="12" rx="1.5" />
    <path d="M8.5 20h7M12 16.5V20" />
  </>,
)
export const PhoneIcon = icon(
  <>
    <rect x="7" y="2.5" width="10" height="19" rx="2" />
    <path d="M11 18.5h2" />
  </>,
)
export const MailIcon = icon(
  <>
    <rect x="3" y="5.5" width="18" height="13" rx="2" />
    <path d="m4 7 8 6 8-6" />
  </>,
)
export const EventsIcon = icon(<path d="M8.5 6.5H20M8.5 12H20M8.5 17.5H20M4.5 6.5v.1M4.5 12v.1M4.5 17.5v.1" />)
export const HealthIcon = icon(<path d="M2.5 12.5H7l2.5-6.5 4.5 12 2.5-5.5h5" />)
export const ShieldIcon = icon(
  <path d="M12 3.5 4.5 6v5.5c0 4.5 3 7.5 7.5 9 4.5-1.5 7.5-4.5 7.5-9V6zM9 11.8l2.2 2.2 4-4.2" />,
)
export const DownloadIcon = icon(<path d="M12 4v11m-4.5-4.5L12 15l4.5-4.5M5 19.5h14" />)
export const CheckIcon = icon(
  <>
    <circle cx="12" cy="12" r="9" />
    <path d="m8 12.2 2.8 2.8 5.2-5.6" />
  </>,
)
export const EyeIcon = icon(
  <>
    <path d="M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12z" />
    <circle cx="12" cy="12" r="3" />
  </>,
)

import { Link } from 'wouter'
import type { SecurityEvent } from '../admin.ts'
import { isAlarming, nameEvent } from '../event-names.ts'
import { useActorNames } from '../people.ts'
import { Ago } from './ago.tsx'

/** Of users, and of service accounts as the subjects of tokens. */
const ids = /(client:)?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g

interface Props {
  events: SecurityEvent[]
  /** Whether each says whom it is about, since that is not the page's own. */
  hasSubjects?: boolean
}

/** Security events, the newest first. */
export function EventList({ events, hasSubjects = false }: Props) {
  // A reason may say who did it, by their id.
  const nameOf = useActorNames(
    events.flatMap((event) => [
      ...actorsOf(event),
      ...(event.reason?.match(ids) ?? []),
      ...(hasSubjects ? subjectOf(event).flatMap(({ subject }) => subject) : []),
    ]),
  )
  const detailsOf = (event: SecurityEvent) => {
    const { act, ip } = event
    // Stopped by whoever began it: that reason only repeats the name of the event.
    const reason = event.reason === event.event ? null : event.reason
    const [actor, ...before] = actorsOf(event)
    const isSubject = hasSubjects && !act && subjectOf(event).some(({ subject }) => subject === actor)
    return [
      reason?.replace('revoked_by_admin', 'by').replaceAll('_', ' ').replace(ids, nameOf),
      actor &&
        !isSubject &&
        !reason?.includes(actor) &&
        (act ? `${nameOf(actor)} acting for them` : `by ${nameOf(actor)}`),
      before.length > 0 && `by way of ${before.map(nameOf).join(' and ')}`,
      ip && `from ${ip}`,
    ]
      .filter(Boolean)
      .join(', ')
  }
  return (
    <ol aria-label="Events, the newest first">
      {events.map((event) => (
        <li key={event.id} className={isAlarming(event.event) ? 'alarming' : undefined}>
          <Ago at={event.at} />
          <div className="lines-text">
            <p>
              <strong>{nameEvent(event.event)}</strong>
              {hasSubjects &&
                subjectOf(event).map(({ subject, href }) => (
                  <Link key={href} href={href}>
                    {nameOf(subject)}
                  </Link>
                ))}
            </p>
            <span className="event-details">{detailsOf(event)}</span>
          </div>
        </li>
      ))}
    </ol>
  )
}

/** The user whom it is about, or else the service account, and their page. */
function subjectOf({ user, client }: SecurityEvent): { subject: string; href: string }[] {
  if (user) return [{ subject: user, href: `/users/${user}` }]
  return client ? [{ subject: `client:${client}`, href: `/admin/machines/${client}` }] : []
}

/** Who acted, the outermost first; without anybody who did, the service account itself. */
function actorsOf({ act, client }: SecurityEvent): string[] {
  const actors = (actor: SecurityEvent['act']): string[] => (actor ? [actor.sub, ...actors(actor.act)] : [])
  return act ? actors(act) : client ? [`client:${client}`] : []
}

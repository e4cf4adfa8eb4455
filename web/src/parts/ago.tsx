import { formatAgo, formatExact } from '../times.ts'

/** How long ago something was; and when, for whoever points at it. */
export const Ago = ({ at }: { at: string }) => (
  <time dateTime={at} title={formatExact(at)}>
    {formatAgo(at)}
  </time>
)

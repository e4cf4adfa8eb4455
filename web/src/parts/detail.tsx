import type { ReactNode } from 'react'

/** A line of `<dl className="details">`: what it is, and what can be done about it. */
export function Detail({ name, value, children }: { name: string; value: ReactNode; children?: ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
      {children && <dd>{children}</dd>}
    </div>
  )
}

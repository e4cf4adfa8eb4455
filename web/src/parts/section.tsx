import type { ReactNode } from 'react'

/** A card of a page about the account: what it is about beside what can be done. */
export function Section({ title, hint, children }: { title: string; hint: ReactNode; children: ReactNode }) {
  return (
    <section className="card section">
      <div>
        <h2>{title}</h2>
        <p className="hint">{hint}</p>
      </div>
      <div className="section-body">{children}</div>
    </section>
  )
}

import { type ReactNode, useEffect, useRef } from 'react'
import { Logo } from './logo.tsx'
import { ThemeToggle } from './theme.tsx'

interface Props {
  title: string
  children: ReactNode
  /** What stands below, such as a link to another page. */
  foot?: ReactNode
}

/** A page for people who need not be signed in: one card, which does one thing. */
export function Card({ title, children, foot }: Props) {
  const card = useRef<HTMLDivElement>(null)
  const heading = useRef<HTMLHeadingElement>(null)
  // Another title is another page, which is read from its heading on unless a field has the focus.
  useEffect(() => {
    document.title = `${title} · Sallyport`
    if (!card.current?.contains(document.activeElement)) heading.current?.focus()
  }, [title])
  return (
    <main className="login">
      <div className="login-card" ref={card}>
        <header>
          <Logo />
          <ThemeToggle />
        </header>
        <h1 ref={heading} tabIndex={-1}>
          {title}
        </h1>
        {children}
      </div>
      <p className="login-foot">{foot ?? 'Sallyport: a token system for microservices'}</p>
    </main>
  )
}

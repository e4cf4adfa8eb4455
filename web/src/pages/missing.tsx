import { Link } from 'wouter'
import { Empty } from '../parts/states.tsx'

export function MissingPage() {
  return (
    <Empty isPage title="There is nothing here">
      <p>The address may be mistyped, or the page has moved.</p>
      <Link href="/" className="button">
        Go home
      </Link>
    </Empty>
  )
}

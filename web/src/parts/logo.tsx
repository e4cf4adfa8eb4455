/** A gate in a wall. */
export function Logo() {
  return (
    <span className="logo">
      <svg viewBox="0 0 32 32" aria-hidden="true">
        <rect width="32" height="32" rx="8" />
        <path d="M7 8h4v3h3V8h4v3h3V8h4v17h-5v-6a4 4 0 0 0-8 0v6H7z" />
      </svg>
      Sallyport
    </span>
  )
}

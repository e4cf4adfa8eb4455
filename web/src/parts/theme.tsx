import { useEffect, useState } from 'react'
import { MoonIcon, SunIcon } from './icons.tsx'

type Theme = 'light' | 'dark'

const key = 'theme'
const dark = matchMedia('(prefers-color-scheme: dark)')

function chosen(): Theme | null {
  try {
    return localStorage.getItem(key) as Theme | null
  } catch {
    return null
  }
}

/** Where storage is blocked or full, the choice ends with the page. */
function choose(theme: Theme): void {
  document.documentElement.dataset.theme = theme
  try {
    localStorage.setItem(key, theme)
  } catch {}
}

/** Before the first paint: what was chosen here, or else what the system prefers. */
export function applyTheme(): void {
  document.documentElement.dataset.theme = chosen() ?? (dark.matches ? 'dark' : 'light')
}

export function ThemeToggle() {
  const [theme, setTheme] = useState(document.documentElement.dataset.theme as Theme)
  useEffect(() => {
    const follow = () => {
      applyTheme()
      setTheme(document.documentElement.dataset.theme as Theme)
    }
    dark.addEventListener('change', follow)
    return () => dark.removeEventListener('change', follow)
  }, [])
  const next = theme === 'dark' ? 'light' : 'dark'
  return (
    <button
      type="button"
      className="quiet square"
      aria-label={`Use ${next} colours`}
      onClick={() => {
        choose(next)
        setTheme(next)
      }}
    >
      {theme === 'dark' ? <SunIcon /> : <MoonIcon />}
    </button>
  )
}

import { createContext, type ReactNode, useCallback, useContext, useState } from 'react'

interface Toast {
  id: number
  text: string
}

const Toasts = createContext<(text: string) => void>(() => {})

/** Says in passing that something was done, or happened elsewhere. */
export const useToast = () => useContext(Toasts)

const shownFor = 5_000

export function ToastProvider({ children }: { children: ReactNode }) {
  const [toasts, setToasts] = useState<Toast[]>([])
  const tell = useCallback((text: string) => {
    const toast = { id: performance.now(), text }
    setToasts((before) => [...before.slice(-2), toast])
    setTimeout(() => setToasts((before) => before.filter((other) => other !== toast)), shownFor)
  }, [])
  return (
    <Toasts value={tell}>
      {children}
      <div className="toasts" role="status">
        {toasts.map(({ id, text }) => (
          <p key={id}>{text}</p>
        ))}
      </div>
    </Toasts>
  )
}

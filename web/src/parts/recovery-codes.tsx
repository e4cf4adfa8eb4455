import { useAuth } from '@sallyport/react'
import { createContext, type ReactNode, useContext, useState } from 'react'
import { formatMoment } from '../times.ts'
import { CopyButton } from './copy-button.tsx'
import { Dialog } from './dialog.tsx'
import { saveFile } from './save-file.ts'

const Show = createContext<(codes: string[]) => void>(() => {})

/** Shows recovery codes, on whichever page the user is by then, until they say that they have them. */
export const useRecoveryCodes = () => useContext(Show)

export function RecoveryCodesProvider({ children }: { children: ReactNode }) {
  const [codes, setCodes] = useState<string[]>()
  return (
    <Show value={setCodes}>
      {children}
      {codes && <RecoveryCodes codes={codes} onSaved={() => setCodes(undefined)} />}
    </Show>
  )
}

function RecoveryCodes({ codes, onSaved }: { codes: string[]; onSaved: () => void }) {
  const { user } = useAuth()
  const title = `Sallyport: recovery codes of ${user?.email ?? 'your account'}, ${formatMoment(Date.now())}`
  const text = codes.join('\n')
  return (
    <Dialog title="Save your recovery codes">
      <p>
        If you lose your phone or your passkey, each of these signs you in <strong>once</strong> in its place. They are
        shown only now: keep them where you find them without it.
      </p>
      <section className="recovery-codes">
        <h3 className="on-paper">{title}</h3>
        <ol>
          {codes.map((code) => (
            <li key={code}>
              <code>{code}</code>
            </li>
          ))}
        </ol>
      </section>
      <div className="buttons">
        <CopyButton text={text} />
        <button type="button" className="small" onClick={() => window.print()}>
          Print
        </button>
        <button
          type="button"
          className="small"
          onClick={() => saveFile('sallyport-recovery-codes.txt', 'text/plain', `${title}\n\n${text}\n`)}
        >
          Download
        </button>
      </div>
      <footer>
        <button type="button" className="primary" onClick={onSaved}>
          I have saved them
        </button>
      </footer>
    </Dialog>
  )
}

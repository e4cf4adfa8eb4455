// Before everything else, so that the ticket of a mail is in no address that anything could read.
import './ticket.ts'
import { AuthProvider } from '@sallyport/react'
import { QueryClientProvider } from '@tanstack/react-query'
import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { navigate } from 'wouter/use-browser-location'
import { App } from './app.tsx'
import { client } from './client.ts'
import { RecoveryCodesProvider } from './parts/recovery-codes.tsx'
import { applyTheme } from './parts/theme.tsx'
import { ToastProvider } from './parts/toasts.tsx'
import { queries } from './queries.ts'
import './styles/tokens.css'
import './styles/base.css'
import './styles/controls.css'
import './styles/parts.css'
import './styles/shell.css'
import './styles/pages.css'
import './styles/account.css'
import './styles/factors.css'
import './styles/machines.css'
import './styles/webhooks.css'
import './styles/acting.css'
import './styles/console.css'

applyTheme()
createRoot(document.getElementById('root') as HTMLElement).render(
  <StrictMode>
    <AuthProvider client={client} navigate={(path) => navigate(path, { replace: true })}>
      <QueryClientProvider client={queries}>
        <ToastProvider>
          <RecoveryCodesProvider>
            <App />
          </RecoveryCodesProvider>
        </ToastProvider>
      </QueryClientProvider>
    </AuthProvider>
  </StrictMode>,
)

import { ProtectedRoute, useAuth } from '@sallyport/react'
import { type ReactNode, useEffect, useRef } from 'react'
import { Route, Switch, useLocation } from 'wouter'
import { ActingBanner } from './acting-banner.tsx'
import { hasSamples } from './client.ts'
import { LiveProvider } from './live.tsx'
import { AccountPage } from './pages/account.tsx'
import { AppointmentsPage } from './pages/appointments.tsx'
import { ConfirmEmailPage, RevertEmailPage } from './pages/change-email.tsx'
import { AcceptInvitationPage, CompleteRegistrationPage } from './pages/complete-registration.tsx'
import { EventsPage } from './pages/events.tsx'
import { FactorsPage } from './pages/factors.tsx'
import { ForbiddenPage } from './pages/forbidden.tsx'
import { ForgotPasswordPage } from './pages/forgot-password.tsx'
import { HealthPage } from './pages/health.tsx'
import { HomePage } from './pages/home.tsx'
import { InvitationsPage } from './pages/invitations.tsx'
import { LoginPage } from './pages/login.tsx'
import { MachinePage } from './pages/machine.tsx'
import { MachinesPage } from './pages/machines.tsx'
import { MissingPage } from './pages/missing.tsx'
import { Own } from './pages/own.tsx'
import { RegisterPage } from './pages/register.tsx'
import { ResetPasswordPage } from './pages/reset-password.tsx'
import { SessionsPage } from './pages/sessions.tsx'
import { TokenPage } from './pages/token.tsx'
import { UserPage } from './pages/user.tsx'
import { UsersPage } from './pages/users.tsx'
import { WebhookPage } from './pages/webhook.tsx'
import { WebhooksPage } from './pages/webhooks.tsx'
import { Loading } from './parts/states.tsx'
import { Shell } from './shell.tsx'
import { StepUpDialog } from './step-up-dialog.tsx'

export function App() {
  useFocusOnPage()
  return (
    <>
      <ActingBanner />
      <Switch>
        <Route path="/login" component={LoginPage} />
        <Route path="/register" component={RegisterPage} />
        <Route path="/complete-registration" component={CompleteRegistrationPage} />
        <Route path="/accept-invitation" component={AcceptInvitationPage} />
        <Route path="/forgot-password" component={ForgotPasswordPage} />
        <Route path="/reset-password" component={ResetPasswordPage} />
        <Route path="/confirm-email" component={ConfirmEmailPage} />
        <Route path="/revert-email" component={RevertEmailPage} />
        <Route>
          <SignedIn>
            <Switch>
              <Route path="/" component={HomePage} />
              {hasSamples && <Route path="/appointments" component={AppointmentsPage} />}
              <Route path="/users">
                <ForAdmins>
                  <UsersPage />
                </ForAdmins>
              </Route>
              <Route path="/users/invitations">
                <ForAdmins>
                  <InvitationsPage />
                </ForAdmins>
              </Route>
              <Route path="/users/:id">
                {({ id }) => (
                  <ForAdmins>
                    <UserPage key={id} id={id} />
                  </ForAdmins>
                )}
              </Route>
              <Route path="/admin/machines">
                <ForAdmins>
                  <MachinesPage />
                </ForAdmins>
              </Route>
              <Route path="/admin/machines/:id">
                {({ id }) => (
                  <ForAdmins>
                    <MachinePage key={id} id={id} />
                  </ForAdmins>
                )}
              </Route>
              <Route path="/admin/events">
                <ForAdmins>
                  <EventsPage />
                </ForAdmins>
              </Route>
              <Route path="/admin/health">
                <ForAdmins>
                  <HealthPage />
                </ForAdmins>
              </Route>
              <Route path="/admin/webhooks">
                <ForAdmins>
                  <WebhooksPage />
                </ForAdmins>
              </Route>
              <Route path="/admin/webhooks/:id">
                {({ id }) => (
                  <ForAdmins>
                    <WebhookPage key={id} id={id} />
                  </ForAdmins>
                )}
              </Route>
              <Route path="/account">
                <Own>
                  <AccountPage />
                </Own>
              </Route>
              <Route path="/account/factors">
                <Own>
                  <FactorsPage />
                </Own>
              </Route>
              <Route path="/sessions">
                <Own>
                  <SessionsPage />
                </Own>
              </Route>
              <Route path="/token" component={TokenPage} />
              <Route component={MissingPage} />
            </Switch>
          </SignedIn>
        </Route>
      </Switch>
    </>
  )
}

/** Everything but the login, and what leads to it, is for signed-in users. Another user's page is another page: nothing stays. */
function SignedIn({ children }: { children: ReactNode }) {
  const { user } = useAuth()
  return (
    <ProtectedRoute loading={<Loading />}>
      <LiveProvider key={user?.id}>
        <Shell>{children}</Shell>
        <StepUpDialog />
      </LiveProvider>
    </ProtectedRoute>
  )
}

function ForAdmins({ children }: { children: ReactNode }) {
  return (
    <Own>
      <ProtectedRoute requireRole="admin" forbidden={<ForbiddenPage />}>
        {children}
      </ProtectedRoute>
    </Own>
  )
}

/** Screen readers announce that the page is another one, also after a sign-in. The login has a focus of its own. */
function useFocusOnPage(): void {
  const [path] = useLocation()
  const shownPath = useRef(path)
  useEffect(() => {
    if (shownPath.current !== path) document.getElementById('main')?.focus()
    shownPath.current = path
  }, [path])
}

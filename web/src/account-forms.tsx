import type { Proof } from '@sallyport/client'
import { useLocation } from 'wouter'
import { account, client } from './client.ts'
import { ActionForm } from './parts/action-form.tsx'
import { AccountField, CodeField, NameField, NewPasswordField } from './parts/fields.tsx'
import { useSecondFactor } from './second-factor.tsx'

/** How somebody shows that they have the mail: the ticket of its link, or the code, which goes with an id. */
type MailProof = { ticket: string } | { ticketId: string }

const proofOf = (given: MailProof, { code = '' }: Record<string, string>): Proof =>
  'ticket' in given ? given : { ...given, code: code.replaceAll(' ', '') }

/** The languages that mails are written in. */
export const languages = { en: 'English', de: 'Deutsch' }

export const languageOf = (locale: string | null) => (/^de\b/i.test(locale ?? '') ? 'de' : 'en')

/** The last step of a registration: whoever has the mail chooses the password, and is signed in. */
export function OpenAccountForm({ email, proof }: { email: string; proof: MailProof }) {
  const [, navigate] = useLocation()
  return (
    <ActionForm
      label="Create account"
      action={async (fields) => {
        const { name = '', newPassword: password = '' } = fields
        await client.completeRegistration({ ...proofOf(proof, fields), name, password })
        navigate('/', { replace: true })
      }}
    >
      {'ticketId' in proof && <CodeField />}
      <AccountField email={email} />
      <NameField />
      <NewPasswordField label="Password" />
    </ActionForm>
  )
}

/** Also asks for the second factor of somebody who has one. What was typed stays meanwhile. */
export function NewPasswordForm({ email, proof }: { email: string; proof: MailProof }) {
  const [, navigate] = useLocation()
  const secondFactor = useSecondFactor('Change password')
  const isSecondStep = secondFactor.form !== undefined
  return (
    <>
      {isSecondStep && <p>Your account has a second step. A mail does not take its place.</p>}
      {secondFactor.form}
      <div className="step" hidden={isSecondStep}>
        <ActionForm
          label="Change password"
          action={async (fields) => {
            const reset = { ...proofOf(proof, fields), password: fields.newPassword ?? '' }
            await account.resetPassword(reset).catch(
              secondFactor.ask(({ challenge, ...factor }) =>
                account.resetPassword({
                  ...reset,
                  challenge,
                  ...('code' in factor ? { factorCode: factor.code } : factor),
                }),
              ),
            )
            const notice = 'Your password was changed, and every session has ended. Sign in with the new one.'
            navigate('/login', { replace: true, state: { notice } })
          }}
        >
          {'ticketId' in proof && <CodeField />}
          <AccountField email={email} />
          <NewPasswordField />
        </ActionForm>
      </div>
    </>
  )
}

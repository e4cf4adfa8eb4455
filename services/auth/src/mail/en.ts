import type { Language } from './words.ts'

const nothingToDo = 'If this was you, there is nothing to do.'
const notMe =
  'If it was not, somebody else has access to your account: choose a new password now, and look at how you sign in.'
const ignore = 'If you did not ask for this, ignore this mail.'

export const en: Language = {
  greeting: (name) => (name === undefined ? 'Hello,' : `Hello ${name},`),
  facts: { at: 'When', ip: 'IP address', device: 'Device' },
  validFor: (time) => `The link works once, within ${time}.`,
  code: (time) => `Reading this on another device? Enter this code where you asked for it, within ${time}:`,
  address: 'If the button does nothing, open this address:',
  forgot: 'Forgotten your password? Choose a new one:',
  footer: {
    asked: (app) => `${app} sent this because somebody entered this e-mail address there.`,
    security: (app) => `${app} sent this automatically, because it is about the security of your account.`,
  },
  mails: {
    registration: (app) => ({
      title: 'Complete your registration',
      intro: `Somebody, probably you, wants an account at ${app} with this e-mail address. Choose a name and a password to make it.`,
      button: 'Complete registration',
      advice: [`${ignore} Without you there will be no account.`],
    }),
    account_exists: (app) => ({
      title: 'You already have an account',
      intro: `Somebody, probably you, wants to register at ${app} with this e-mail address. It already has an account: sign in with that.`,
      button: 'Sign in',
      advice: [`${ignore} Nothing has changed.`],
    }),
    invitation: (app, { invitedBy }) => ({
      title: 'You are invited',
      intro: `${invitedBy === null ? 'You are invited' : `${invitedBy} invites you`} to ${app}. Choose a name and a password to make your account.`,
      button: 'Accept the invitation',
      advice: ['If you do not know what this is about, ignore this mail. Without you there will be no account.'],
    }),
    account_created: (app) => ({
      title: 'Your account is ready',
      intro: `An administrator has made an account for you at ${app}. Choose a password to use it.`,
      button: 'Choose a password',
      advice: ['Nobody but you will know the password, and nobody will ask you for it.'],
    }),
    password_reset: (app) => ({
      title: 'Choose a new password',
      intro: `Somebody, probably you, asked to choose a new password for your account at ${app}.`,
      button: 'Choose a new password',
      advice: [`${ignore} Your password stays as it is, and nobody gets in by asking.`],
    }),
    password_reset_by_admin: (app) => ({
      title: 'Choose a new password',
      intro: `An administrator of ${app} asks you to choose a new password. Your present one works until then.`,
      button: 'Choose a new password',
      advice: ['Nobody but you will know the password, and nobody will ask you for it.'],
    }),
    password_changed: (app) => ({
      title: 'Your password was changed',
      intro: `The password of your account at ${app} was changed. Every other session has ended.`,
      button: 'Choose a new password',
      advice: [
        nothingToDo,
        `If it was not, somebody else has access to your account: choose a new password now. If you cannot, contact whoever runs ${app} at once.`,
      ],
    }),
    password_was_reset: (app) => ({
      title: 'Your password was reset',
      intro: `A new password was chosen for your account at ${app}, by a mail to this address. Every session has ended.`,
      button: 'Choose a new password',
      advice: [
        nothingToDo,
        'If it was not, somebody else reads your mail: secure your mailbox first, then choose a new password here.',
      ],
    }),
    email_change: (app) => ({
      title: 'Confirm your new e-mail address',
      intro: `Somebody, probably you, wants to use this e-mail address for an account at ${app}.`,
      button: 'Confirm the address',
      advice: [`${ignore} Without you nothing changes.`],
    }),
    email_change_requested: (app, { newEmail }) => ({
      title: 'Your e-mail address is to be changed',
      intro: `Somebody, probably you, wants to change the e-mail address of your account at ${app} to ${newEmail}. It changes once that is confirmed.`,
      button: 'Choose a new password',
      advice: [
        nothingToDo,
        'If it was not, somebody else is signed in to your account: choose a new password now. That ends every session, and this change.',
      ],
    }),
    email_changed: (app, { newEmail }) => ({
      title: 'Your e-mail address was changed',
      intro: `The e-mail address of your account at ${app} is now ${newEmail}. Mail about it goes there.`,
      button: 'Bring this address back',
      advice: [
        nothingToDo,
        'If it was not, bring this address back, which ends every session. Then choose a new password.',
      ],
    }),
    email_reverted: (app) => ({
      title: 'Your e-mail address is back',
      intro: `This is the e-mail address of your account at ${app} again. Every session has ended.`,
      button: 'Choose a new password',
      advice: ['Whoever changed it may know your password. Choose a new one now.'],
    }),
    factor_added: (app, { factor }) => ({
      title: factor === 'passkey' ? 'A passkey was added' : 'An authenticator app was added',
      intro:
        factor === 'passkey'
          ? `A passkey was added to your account at ${app}. It signs in, without your password.`
          : `An authenticator app was added to your account at ${app}. Its codes are asked for after your password.`,
      button: 'See how you sign in',
      advice: [nothingToDo, notMe, `If it keeps you out, contact whoever runs ${app}.`],
    }),
    factor_removed: (app, { factor }) => ({
      title: factor === 'passkey' ? 'A passkey was removed' : 'An authenticator app was removed',
      intro:
        factor === 'passkey'
          ? `A passkey was removed from your account at ${app}. It signs in no more.`
          : `The authenticator app was removed from your account at ${app}. Its codes are good for nothing now.`,
      button: 'See how you sign in',
      advice: [nothingToDo, notMe],
    }),
    recovery_codes_made: (app) => ({
      title: 'New recovery codes',
      intro: `New recovery codes were made for your account at ${app}. Those from before are void.`,
      button: 'See how you sign in',
      advice: [nothingToDo, notMe],
    }),
    recovery_code_used: (app) => ({
      title: 'A recovery code was used',
      intro: `One of the recovery codes of your account at ${app} was used, in the place of your authenticator app or passkey.`,
      button: 'See how you sign in',
      advice: [
        'If this was you, and you have lost your phone, remove what was on it. Make new codes when few are left.',
        notMe,
      ],
    }),
    wrong_codes: (app) => ({
      title: 'Several wrong codes',
      intro: `Several wrong codes have come for your account at ${app}. Whoever sent them knows your password, reads your mail or uses a session of yours. The last one came from here:`,
      button: 'Choose a new password',
      advice: [
        'If this was you, wait a moment and try the code that your app shows then.',
        'If it was not, choose a new password now, and another one for your mailbox.',
      ],
    }),
    factors_reset: (app) => ({
      title: 'Your second factors were taken away',
      intro: `An administrator of ${app} has taken away your authenticator app, passkeys and recovery codes. Your password alone signs in now, and every session has ended.`,
      button: 'Add a factor again',
      advice: [
        'If you asked for it, sign in and add a factor again.',
        `If you did not, contact whoever runs ${app} at once.`,
      ],
    }),
    impersonated: (app, { by, reason }) => ({
      title: 'Somebody signed in as you',
      intro: `${by} of ${app} has signed in as you, for at most 15 minutes, to see what you see. Why, in their words: ${reason}`,
      button: 'Look at your sessions',
      advice: [
        'Nobody has learned your password by it, and your account, password and factors cannot be changed that way.',
        `If you do not know why, end that session among your sessions, and ask whoever runs ${app}.`,
      ],
    }),
    new_device: (app) => ({
      title: 'Sign-in from a new device',
      intro: `Somebody signed in to your account at ${app} from a device that was not used before.`,
      button: 'Choose a new password',
      advice: [nothingToDo, 'If it was not, choose a new password now. That ends every session.'],
    }),
    many_failures: (app) => ({
      title: 'Many wrong passwords',
      intro: `Somebody has tried many wrong passwords for your account at ${app}. The last one came from here:`,
      button: 'Choose a new password',
      advice: [
        'Your account is not locked: devices on which you have signed in before work as always.',
        'If you cannot sign in on a new one, or use the same password elsewhere, choose a new password.',
      ],
    }),
    deletion_requested: (app, { deleteAfter }) => ({
      title: 'Your account will be deleted',
      intro: `You asked to delete your account at ${app}. Every session has ended, and everything is erased on ${deleteAfter}.`,
      button: 'Keep the account',
      advice: [
        'To keep it, sign in before then.',
        'If you did not ask for this, sign in now and choose a new password: somebody else has access to your account.',
      ],
    }),
    deletion_by_admin: (app, { deleteAfter }) => ({
      title: 'Your account will be deleted',
      intro: `An administrator of ${app} is deleting your account. You can no longer sign in, and everything is erased on ${deleteAfter}.`,
      button: `Go to ${app}`,
      advice: [`Until then an administrator can undo it. If this is a mistake, contact whoever runs ${app}.`],
    }),
  },
}

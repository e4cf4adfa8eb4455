import type { Language } from './words.ts'

const nothingToDo = 'Waren Sie das, ist nichts weiter zu tun.'
const notMe =
  'Waren Sie es nicht, hat jemand anderes Zugang zu Ihrem Konto: Wählen Sie sofort ein neues Passwort, und sehen Sie nach, womit man sich anmelden kann.'
const ignore = 'Haben Sie nicht darum gebeten, beachten Sie diese E-Mail nicht.'

export const de: Language = {
  greeting: (name) => (name === undefined ? 'Guten Tag,' : `Guten Tag, ${name},`),
  facts: { at: 'Wann', ip: 'IP-Adresse', device: 'Gerät' },
  validFor: (time) => `Der Link gilt einmal und ${time} lang.`,
  code: (time) =>
    `Sie lesen dies auf einem anderen Gerät? Geben Sie diesen Code dort ein, wo Sie darum gebeten haben. Er gilt ${time}:`,
  address: 'Reagiert die Schaltfläche nicht, öffnen Sie diese Adresse:',
  forgot: 'Passwort vergessen? Wählen Sie ein neues:',
  footer: {
    asked: (app) => `${app} hat diese E-Mail verschickt, weil jemand dort diese E-Mail-Adresse angegeben hat.`,
    security: (app) => `${app} hat diese E-Mail automatisch verschickt, weil sie die Sicherheit Ihres Kontos betrifft.`,
  },
  mails: {
    registration: (app) => ({
      title: 'Schließen Sie Ihre Registrierung ab',
      intro: `jemand, vermutlich Sie, möchte mit dieser E-Mail-Adresse ein Konto bei ${app}. Wählen Sie einen Namen und ein Passwort, um es anzulegen.`,
      button: 'Registrierung abschließen',
      advice: [`${ignore} Ohne Sie entsteht kein Konto.`],
    }),
    account_exists: (app) => ({
      title: 'Sie haben bereits ein Konto',
      intro: `jemand, vermutlich Sie, möchte sich mit dieser E-Mail-Adresse bei ${app} registrieren. Zu ihr gibt es bereits ein Konto: Melden Sie sich damit an.`,
      button: 'Anmelden',
      advice: [`${ignore} Es hat sich nichts geändert.`],
    }),
    invitation: (app, { invitedBy }) => ({
      title: 'Sie sind eingeladen',
      intro: `${invitedBy === null ? 'Sie sind' : `${invitedBy} lädt Sie`} zu ${app} ${invitedBy === null ? 'eingeladen' : 'ein'}. Wählen Sie einen Namen und ein Passwort, um Ihr Konto anzulegen.`,
      button: 'Einladung annehmen',
      advice: ['Wissen Sie nicht, worum es geht, beachten Sie diese E-Mail nicht. Ohne Sie entsteht kein Konto.'],
    }),
    account_created: (app) => ({
      title: 'Ihr Konto ist bereit',
      intro: `ein Administrator hat bei ${app} ein Konto für Sie angelegt. Wählen Sie ein Passwort, um es zu benutzen.`,
      button: 'Passwort wählen',
      advice: ['Niemand außer Ihnen erfährt das Passwort, und niemand wird Sie danach fragen.'],
    }),
    password_reset: (app) => ({
      title: 'Wählen Sie ein neues Passwort',
      intro: `jemand, vermutlich Sie, möchte ein neues Passwort für Ihr Konto bei ${app} wählen.`,
      button: 'Neues Passwort wählen',
      advice: [`${ignore} Ihr Passwort bleibt, wie es ist, und niemand erhält durch eine Anfrage Zugang.`],
    }),
    password_reset_by_admin: (app) => ({
      title: 'Wählen Sie ein neues Passwort',
      intro: `ein Administrator von ${app} bittet Sie, ein neues Passwort zu wählen. Ihr bisheriges gilt bis dahin weiter.`,
      button: 'Neues Passwort wählen',
      advice: ['Niemand außer Ihnen erfährt das Passwort, und niemand wird Sie danach fragen.'],
    }),
    password_changed: (app) => ({
      title: 'Ihr Passwort wurde geändert',
      intro: `das Passwort Ihres Kontos bei ${app} wurde geändert. Alle anderen Sitzungen wurden beendet.`,
      button: 'Neues Passwort wählen',
      advice: [
        nothingToDo,
        `Waren Sie es nicht, hat jemand anderes Zugang zu Ihrem Konto: Wählen Sie sofort ein neues Passwort. Gelingt das nicht, wenden Sie sich umgehend an die Betreiber von ${app}.`,
      ],
    }),
    password_was_reset: (app) => ({
      title: 'Ihr Passwort wurde zurückgesetzt',
      intro: `für Ihr Konto bei ${app} wurde über eine E-Mail an diese Adresse ein neues Passwort gewählt. Alle Sitzungen wurden beendet.`,
      button: 'Neues Passwort wählen',
      advice: [
        nothingToDo,
        'Waren Sie es nicht, liest jemand anderes Ihre E-Mails: Sichern Sie zuerst Ihr Postfach, und wählen Sie dann hier ein neues Passwort.',
      ],
    }),
    email_change: (app) => ({
      title: 'Bestätigen Sie Ihre neue E-Mail-Adresse',
      intro: `jemand, vermutlich Sie, möchte diese E-Mail-Adresse für ein Konto bei ${app} verwenden.`,
      button: 'Adresse bestätigen',
      advice: [`${ignore} Ohne Sie ändert sich nichts.`],
    }),
    email_change_requested: (app, { newEmail }) => ({
      title: 'Ihre E-Mail-Adresse soll geändert werden',
      intro: `jemand, vermutlich Sie, möchte die E-Mail-Adresse Ihres Kontos bei ${app} in ${newEmail} ändern. Sie ändert sich, sobald diese bestätigt ist.`,
      button: 'Neues Passwort wählen',
      advice: [
        nothingToDo,
        'Waren Sie es nicht, ist jemand anderes in Ihrem Konto angemeldet: Wählen Sie sofort ein neues Passwort. Das beendet alle Sitzungen und diese Änderung.',
      ],
    }),
    email_changed: (app, { newEmail }) => ({
      title: 'Ihre E-Mail-Adresse wurde geändert',
      intro: `die E-Mail-Adresse Ihres Kontos bei ${app} ist jetzt ${newEmail}. E-Mails dazu gehen künftig dorthin.`,
      button: 'Diese Adresse wiederherstellen',
      advice: [
        nothingToDo,
        'Waren Sie es nicht, stellen Sie diese Adresse wieder her; das beendet alle Sitzungen. Wählen Sie danach ein neues Passwort.',
      ],
    }),
    email_reverted: (app) => ({
      title: 'Ihre E-Mail-Adresse ist wiederhergestellt',
      intro: `dies ist wieder die E-Mail-Adresse Ihres Kontos bei ${app}. Alle Sitzungen wurden beendet.`,
      button: 'Neues Passwort wählen',
      advice: ['Wer sie geändert hat, kennt womöglich Ihr Passwort. Wählen Sie jetzt ein neues.'],
    }),
    factor_added: (app, { factor }) => ({
      title: factor === 'passkey' ? 'Ein Passkey kam hinzu' : 'Eine Authentifizierungs-App kam hinzu',
      intro:
        factor === 'passkey'
          ? `zu Ihrem Konto bei ${app} kam ein Passkey hinzu. Mit ihm meldet man sich an, ohne Ihr Passwort.`
          : `zu Ihrem Konto bei ${app} kam eine Authentifizierungs-App hinzu. Nach Ihrem Passwort wird ein Code von ihr verlangt.`,
      button: 'Anmeldemethoden ansehen',
      advice: [
        nothingToDo,
        notMe,
        `Kommen Sie deshalb nicht mehr hinein, wenden Sie sich an die, die ${app} betreiben.`,
      ],
    }),
    factor_removed: (app, { factor }) => ({
      title: factor === 'passkey' ? 'Ein Passkey wurde entfernt' : 'Die Authentifizierungs-App wurde entfernt',
      intro:
        factor === 'passkey'
          ? `aus Ihrem Konto bei ${app} wurde ein Passkey entfernt. Mit ihm kann man sich nicht mehr anmelden.`
          : `aus Ihrem Konto bei ${app} wurde die Authentifizierungs-App entfernt. Ihre Codes gelten nicht mehr.`,
      button: 'Anmeldemethoden ansehen',
      advice: [nothingToDo, notMe],
    }),
    recovery_codes_made: (app) => ({
      title: 'Neue Wiederherstellungscodes',
      intro: `für Ihr Konto bei ${app} gibt es neue Wiederherstellungscodes. Die bisherigen gelten nicht mehr.`,
      button: 'Anmeldemethoden ansehen',
      advice: [nothingToDo, notMe],
    }),
    recovery_code_used: (app) => ({
      title: 'Ein Wiederherstellungscode wurde benutzt',
      intro: `einer der Wiederherstellungscodes Ihres Kontos bei ${app} wurde benutzt, anstelle Ihrer Authentifizierungs-App oder eines Passkeys.`,
      button: 'Anmeldemethoden ansehen',
      advice: [
        'Waren Sie das und haben Ihr Telefon verloren, entfernen Sie, was darauf war. Sind nur noch wenige Codes übrig, erzeugen Sie neue.',
        notMe,
      ],
    }),
    wrong_codes: (app) => ({
      title: 'Mehrere falsche Codes',
      intro: `für Ihr Konto bei ${app} kamen mehrere falsche Codes. Wer sie geschickt hat, kennt Ihr Passwort, liest Ihre E-Mails oder benutzt eine Ihrer Sitzungen. Der letzte kam von hier:`,
      button: 'Neues Passwort wählen',
      advice: [
        'Waren Sie das, warten Sie einen Moment, und versuchen Sie es mit dem Code, den Ihre App dann zeigt.',
        'Waren Sie es nicht, wählen Sie sofort ein neues Passwort, und auch eines für Ihr Postfach.',
      ],
    }),
    factors_reset: (app) => ({
      title: 'Ihre Anmeldemethoden wurden zurückgesetzt',
      intro: `jemand, der ${app} verwaltet, hat Authentifizierungs-App, Passkeys und Wiederherstellungscodes Ihres Kontos entfernt. Zur Anmeldung genügt jetzt Ihr Passwort, und alle Sitzungen sind beendet.`,
      button: 'Wieder einrichten',
      advice: [
        'Haben Sie darum gebeten, melden Sie sich an, und richten Sie wieder ein, was Sie brauchen.',
        `Haben Sie nicht darum gebeten, wenden Sie sich sofort an die, die ${app} betreiben.`,
      ],
    }),
    impersonated: (app, { by, reason }) => ({
      title: 'Jemand hat sich als Sie angemeldet',
      intro: `${by} von ${app} hat sich für höchstens 15 Minuten als Sie angemeldet, um zu sehen, was Sie sehen. Der Grund, in eigenen Worten: ${reason}`,
      button: 'Sitzungen ansehen',
      advice: [
        'Ihr Passwort ist dadurch niemandem bekannt, und weder Konto noch Passwort noch Anmeldemethoden lassen sich so ändern.',
        `Wissen Sie nicht, warum, beenden Sie diese Sitzung unter Ihren Sitzungen, und fragen Sie die, die ${app} betreiben.`,
      ],
    }),
    new_device: (app) => ({
      title: 'Anmeldung von einem neuen Gerät',
      intro: `jemand hat sich von einem bisher nicht benutzten Gerät in Ihrem Konto bei ${app} angemeldet.`,
      button: 'Neues Passwort wählen',
      advice: [nothingToDo, 'Waren Sie es nicht, wählen Sie sofort ein neues Passwort. Das beendet alle Sitzungen.'],
    }),
    many_failures: (app) => ({
      title: 'Viele falsche Passwörter',
      intro: `jemand hat für Ihr Konto bei ${app} viele falsche Passwörter ausprobiert. Das letzte kam von hier:`,
      button: 'Neues Passwort wählen',
      advice: [
        'Ihr Konto ist nicht gesperrt: Geräte, auf denen Sie sich schon einmal angemeldet haben, funktionieren wie immer.',
        'Können Sie sich auf einem neuen nicht anmelden, oder benutzen Sie dasselbe Passwort auch anderswo, wählen Sie ein neues.',
      ],
    }),
    deletion_requested: (app, { deleteAfter }) => ({
      title: 'Ihr Konto wird gelöscht',
      intro: `Sie haben darum gebeten, Ihr Konto bei ${app} zu löschen. Alle Sitzungen wurden beendet, und am ${deleteAfter} wird alles gelöscht.`,
      button: 'Konto behalten',
      advice: [
        'Um es zu behalten, melden Sie sich vorher an.',
        'Haben Sie nicht darum gebeten, melden Sie sich jetzt an und wählen Sie ein neues Passwort: Jemand anderes hat Zugang zu Ihrem Konto.',
      ],
    }),
    deletion_by_admin: (app, { deleteAfter }) => ({
      title: 'Ihr Konto wird gelöscht',
      intro: `ein Administrator von ${app} löscht Ihr Konto. Sie können sich nicht mehr anmelden, und am ${deleteAfter} wird alles gelöscht.`,
      button: `Zu ${app}`,
      advice: [
        `Bis dahin kann ein Administrator es rückgängig machen. Ist es ein Irrtum, wenden Sie sich an die Betreiber von ${app}.`,
      ],
    }),
  },
}

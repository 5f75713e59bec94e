import { rfc3339 } from '../../core/clock.ts'
import type { MailContent } from '../../web/mail-layout.ts'
import { readableTime } from '../../web/readable-times.ts'
import type { MailPurpose } from './mail-tokens.ts'

/** What a mail tells. Times are milliseconds. */
export interface MailFacts {
  origin: string
  /** Of the one-time link. */
  token: string
  /** When the one-time link ends. */
  endsAt: number
  /** When the thing happened that a notice is about. */
  at: number
  /** The device that logged in, in words. */
  device: string
  /** The address that switches the notice off. */
  unsubscribeUrl: string
}

const ends = (endsAt: number): string => `The link works once, until ${timeOf(endsAt)}.`

const timeOf = (at: number): string => readableTime(rfc3339(at))

/**
 * The mails of accounts. The links of notices lead to pages that everybody may open, or that ask for a log-in, so they
 * do not end.
 */
export const mailContents: Record<MailPurpose, (facts: MailFacts) => MailContent> = {
  'verify-email': ({ origin, token, endsAt }) => ({
    subject: 'Confirm your e-mail address',
    before: ['Welcome to Banyan.', 'Confirm that this address is yours.'],
    button: { label: 'Confirm this address', url: `${origin}/verify-email/${token}` },
    after: [ends(endsAt), 'If you did not sign up, ignore this mail.'],
  }),
  'reset-password': ({ origin, token, endsAt }) => ({
    subject: 'Set a new password',
    before: ['A new password was requested for the account with this address.'],
    button: { label: 'Set a new password', url: `${origin}/reset-password/${token}` },
    after: [ends(endsAt), 'If you did not request it, ignore this mail. Your password has not changed.'],
  }),
  'change-email': ({ origin, token, endsAt }) => ({
    subject: 'Confirm your new e-mail address',
    before: ['A user of Banyan wants to use this address for an account. If that was you, confirm the change.'],
    button: { label: 'Use this address', url: `${origin}/confirm-email/${token}` },
    after: [ends(endsAt), 'If it was not you, ignore this mail. The account keeps its previous address.'],
  }),
  'email-changed': ({ origin, at }) => ({
    subject: 'Your e-mail address was changed',
    before: [
      `On ${timeOf(at)}, your account at Banyan got another e-mail address. Mails about the account no longer come to this one.`,
      'If you did not change it, somebody knows your password. Log in with your handle, choose a new password, and change the address back.',
    ],
    button: { label: 'Log in', url: `${origin}/login` },
    after: ['If you changed it, you have nothing to do.'],
  }),
  'password-changed': ({ origin, at }) => ({
    subject: 'Your password was changed',
    before: [
      `On ${timeOf(at)}, the password of your account at Banyan was changed. That signed out the account’s other sessions.`,
      'If you did not change it, set a new password now. We send the link for it to this address.',
    ],
    button: { label: 'Set a new password', url: `${origin}/forgot-password` },
    after: ['If you changed it, you have nothing to do.'],
  }),
  'new-log-in': ({ origin, at, device, unsubscribeUrl }) => ({
    subject: 'New log-in to your account',
    before: [
      'Somebody logged in to your account at Banyan with a device that is new to us.',
      `Device: ${device}`,
      `Time: ${timeOf(at)}`,
      'If it was not you, change your password now. That signs out all other sessions.',
    ],
    button: { label: 'Open your settings', url: `${origin}/settings` },
    after: ['If it was you, you have nothing to do.'],
    unsubscribe: { text: 'To get no more mails about new log-ins, open this address:', url: unsubscribeUrl },
  }),
}

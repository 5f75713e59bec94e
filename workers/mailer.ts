import type { Mail } from '../src/app/accounts/jobs.ts'

/** Sends through the platform's e-mail binding. `Message-ID` is stable over every try (RFC 5322 §3.6.4). */
export const mailer =
  (binding: SendEmail, from: string) =>
  async ({ to, subject, text, messageId }: Mail): Promise<void> => {
    const domain = from.slice(from.lastIndexOf('@') + 1)
    await binding.send({ from, to, subject, text, headers: { 'Message-ID': `<${messageId}@${domain}>` } })
  }

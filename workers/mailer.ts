import type { Mail } from '../src/app/accounts/jobs.ts'

/**
 * Sends through the platform's e-mail binding. `Message-ID` is the platform's own to set (docs/decisions/0007), so what is
 * stable over every try of a job travels in a header of ours.
 */
export const mailer =
  (binding: SendEmail, from: string) =>
  async ({ to, subject, text, messageId }: Mail): Promise<void> => {
    await binding.send({ from, to, subject, text, headers: { 'X-Banyan-Message-Id': messageId } })
  }

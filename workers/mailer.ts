import { inTime, systemClock } from '../src/core/clock.ts'
import { limits } from '../src/core/limits.ts'
import type { SendMail } from '../src/jobs/mail.ts'

/**
 * Sends through the platform's e-mail binding. `Message-ID` is the platform's own to set (docs/decisions/0007), so what is
 * stable over every try of a job travels in a header of ours.
 */
export const mailer =
  (binding: SendEmail, from: string): SendMail =>
  async ({ to, subject, text, messageId }) => {
    const headers = { 'X-Banyan-Message-Id': messageId }
    // One that was late may have gone out: its job sends it again, under the same id.
    await inTime(systemClock, limits.mailSendMs, binding.send({ from, to, subject, text, headers }))
  }

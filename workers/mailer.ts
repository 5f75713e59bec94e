import { inTime, systemClock } from '../src/core/clock.ts'
import { limits } from '../src/core/limits.ts'
import type { SendMail } from '../src/jobs/mail.ts'

/**
 * Sends through the platform's e-mail binding. The platform sets `Message-ID` itself (docs/decisions/0007), so the id
 * that is the same for every try of a job travels in a separate header.
 */
export const mailer =
  (binding: SendEmail, from: string): SendMail =>
  async ({ messageId, headers, ...mail }) => {
    const all = { ...headers, 'X-Banyan-Message-Id': messageId }
    // A message that timed out may have been sent. Its job sends it again with the same id.
    await inTime(systemClock, limits.mailSendMs, binding.send({ ...mail, from, headers: all }))
  }

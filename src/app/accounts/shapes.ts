import { z } from '@hono/zod-openapi'
import { wholeText } from '../../web/api.ts'
import { HANDLE } from '../profiles/profiles.ts'
import { displayName } from '../profiles/shapes.ts'

const EMAIL_CHARACTERS_MAX = 254 // RFC 5321 §4.5.3.1.3, less the angle brackets

export const email = z
  .string()
  .trim()
  .max(EMAIL_CHARACTERS_MAX, `An e-mail address has at most ${EMAIL_CHARACTERS_MAX} characters.`)
  .pipe(z.email('This is not an e-mail address. Write it as name@example.com.'))

export const handle = z
  .string()
  .trim()
  .regex(HANDLE, 'A handle has 3 to 30 characters of a–z, 0–9 and _, and starts with a letter.')
  .toLowerCase()

export const password = wholeText
  .refine((text) => [...text].length >= 10, 'A password has at least 10 characters.')
  .refine((text) => [...text].length <= 200, 'A password has at most 200 characters.')

export const signUpShape = z.strictObject({ email, handle, password, displayName: displayName.optional() })
export const logInShape = z.strictObject({
  login: wholeText.min(1).max(EMAIL_CHARACTERS_MAX),
  password: wholeText.min(1).max(1_000),
})
export const changeHandleShape = z.strictObject({ handle })
export const changeEmailShape = z.strictObject({ email, password: wholeText.min(1).max(1_000) })
export const changePasswordShape = z.strictObject({ current: wholeText.min(1).max(1_000), next: password })

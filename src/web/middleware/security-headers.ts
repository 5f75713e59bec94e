import { createMiddleware } from 'hono/factory'
import type { WebEnv } from '../context.ts'

const headers: Record<string, string> = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=()',
  'referrer-policy': 'strict-origin-when-cross-origin',
  'strict-transport-security': 'max-age=31536000',
  'x-content-type-options': 'nosniff',
}

/** Links in mails carry tokens, so their pages send no Referer. */
const carriesToken = (path: string) => path.startsWith('/verify-email/') || path.startsWith('/reset-password/')

export const securityHeaders = () =>
  createMiddleware<WebEnv>(async function securityHeaders(c, next) {
    await next()
    for (const [name, value] of Object.entries(headers)) c.res.headers.set(name, value)
    // A file that users have uploaded is no page, whatever it contains.
    if (c.get('sharing')?.isFile && c.res.status < 400)
      c.res.headers.set('content-security-policy', "default-src 'none'; sandbox")
    if (carriesToken(c.req.path)) c.res.headers.set('referrer-policy', 'no-referrer')
  })

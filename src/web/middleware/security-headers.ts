import { createMiddleware } from 'hono/factory'
import type { WebEnv } from '../context.ts'

/** A page that needs another policy sets it itself. */
export const contentSecurityPolicy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

const headers: Record<string, string> = {
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=()',
  'referrer-policy': 'strict-origin-when-cross-origin',
  'strict-transport-security': 'max-age=31536000',
  'x-content-type-options': 'nosniff',
}

const CSP = 'content-security-policy'

/**
 * Links in mails carry tokens, so their pages send other sites no Referer. With `no-referrer`, browsers would send
 * `Origin: null` with the page's form, and the origin check would refuse it.
 */
const carriesToken = (path: string) => /^\/(verify-email|confirm-email|reset-password|unsubscribe)\//.test(path)

export const securityHeaders = () =>
  createMiddleware<WebEnv>(async function securityHeaders(c, next) {
    await next()
    if (!c.res.headers.has(CSP)) c.res.headers.set(CSP, contentSecurityPolicy)
    for (const [name, value] of Object.entries(headers)) c.res.headers.set(name, value)
    // A file that users have uploaded is no page, whatever it contains.
    if (c.get('sharing')?.isFile && c.res.status < 400) c.res.headers.set(CSP, "default-src 'none'; sandbox")
    if (carriesToken(c.req.path)) c.res.headers.set('referrer-policy', 'same-origin')
  })

import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { rfc3339 } from '../../core/clock.ts'
import { BanyanError, messageOf } from '../../core/errors.ts'
import { isId } from '../../core/ids.ts'
import type { Session } from '../../sessions/sessions.ts'
import { json, jsonBody, problems, publicOrigin, retryKey, signedIn, writeProblems } from '../../web/api.ts'
import type { WebEnv } from '../../web/context.ts'
import { clearSessionCookies, readCookie, writeSessionCookies } from '../../web/cookies.ts'
import { noBody } from '../../web/middleware/body.ts'
import { announceRetry, limitCredentials } from '../../web/middleware/rate-limits.ts'
import { bearerToken, requireSession } from '../../web/middleware/session.ts'
import { getSelf } from '../profiles/profiles.ts'
import { selfShape } from '../profiles/shapes.ts'
import {
  changePassword,
  logIn,
  normaliseEmail,
  refuseCommonPassword,
  requestPasswordReset,
  requestVerification,
  resetPassword,
  type SignedIn,
  verifyEmail,
} from './accounts.ts'
import { confirmEmailChange, requestEmailChange } from './email-changes.ts'
import { changeHandle } from './handle-changes.ts'
import {
  changeEmailShape,
  changeHandleShape,
  changePasswordShape,
  email,
  logInShape,
  password,
  signUpShape,
} from './shapes.ts'
import { signUp } from './sign-up.ts'

const sessionShape = z
  .object({
    id: z.string(),
    createdAt: z.iso.datetime(),
    lastSeenAt: z.iso.datetime(),
    userAgent: z.string(),
    current: z.boolean(),
  })
  .openapi('Session')

const signedInAnswer = json(z.object({ user: selfShape, token: z.string() }), 'Signed in')
const noContent = { 204: { description: 'Done' } }
const tokenParam = z.object({ token: z.string() })

export function accountRoutes(app: OpenAPIHono<WebEnv>): void {
  app.openapi(
    createRoute({
      method: 'post',
      path: '/api/v1/accounts',
      request: { body: jsonBody(signUpShape) },
      responses: { 201: signedInAnswer, ...writeProblems(401, 409) },
    }),
    async (c) => c.json(await answerSignedIn(c, await signUpFrom(c, c.req.valid('json'), retryKey(c))), 201),
  )
  app.openapi(
    createRoute({
      method: 'post',
      path: '/api/v1/sessions',
      request: { body: jsonBody(logInShape) },
      responses: { 201: signedInAnswer, ...writeProblems(401, 409) },
    }),
    async (c) => c.json(await answerSignedIn(c, await logInFrom(c, c.req.valid('json'), retryKey(c))), 201),
  )
  app.openapi(
    createRoute({
      method: 'get',
      path: '/api/v1/sessions',
      security: signedIn,
      responses: { 200: json(z.object({ items: z.array(sessionShape) }), 'The user’s sessions'), ...problems(401) },
    }),
    async (c) => c.json({ items: await listSessions(c) }, 200),
  )
  app.openapi(
    createRoute({
      method: 'delete',
      path: '/api/v1/sessions',
      middleware: noBody,
      security: signedIn,
      responses: { ...noContent, ...writeProblems(401) },
    }),
    async (c) => {
      await c.get('tiers').sessions.endOthers(await requireSession(c))
      return c.body(null, 204)
    },
  )
  app.openapi(
    createRoute({
      method: 'delete',
      path: '/api/v1/sessions/{id}',
      middleware: noBody,
      security: signedIn,
      request: { params: z.object({ id: z.string() }) },
      responses: { ...noContent, ...writeProblems(401, 404) },
    }),
    async (c) => {
      await endSession(c, c.req.valid('param').id)
      return c.body(null, 204)
    },
  )
  app.openapi(
    createRoute({
      method: 'post',
      path: '/api/v1/email-verifications',
      middleware: noBody,
      security: signedIn,
      responses: { 202: { description: 'A mail is on its way' }, ...writeProblems(401, 409) },
    }),
    async (c) => {
      const session = await requireSession(c)
      await limitCredentials(c, session.userId)
      await requestVerification(c.get('tiers'), session, publicOrigin(c), retryKey(c))
      return c.body(null, 202)
    },
  )
  app.openapi(
    createRoute({
      method: 'post',
      path: '/api/v1/email-verifications/{token}',
      middleware: noBody,
      request: { params: tokenParam },
      responses: { ...noContent, ...writeProblems(404) },
    }),
    async (c) => {
      await verifyEmail(c.get('tiers'), c.req.valid('param').token, retryKey(c))
      return c.body(null, 204)
    },
  )
  app.openapi(
    createRoute({
      method: 'post',
      path: '/api/v1/password-resets',
      request: { body: jsonBody(z.strictObject({ email })) },
      responses: {
        202: { description: 'If the address has an account, a mail is on its way' },
        ...writeProblems(),
      },
    }),
    async (c) => {
      await requestResetFrom(c, c.req.valid('json').email)
      return c.body(null, 202)
    },
  )
  app.openapi(
    createRoute({
      method: 'post',
      path: '/api/v1/password-resets/{token}',
      request: { params: tokenParam, body: jsonBody(z.strictObject({ password })) },
      responses: { ...noContent, ...writeProblems(404, 409) },
    }),
    async (c) => {
      await resetPasswordFrom(c, c.req.valid('param').token, c.req.valid('json').password)
      return c.body(null, 204)
    },
  )
  app.openapi(
    createRoute({
      method: 'put',
      path: '/api/v1/me/password',
      security: signedIn,
      request: { body: jsonBody(changePasswordShape) },
      responses: { ...noContent, ...writeProblems(401, 409) },
    }),
    async (c) => {
      await changePasswordFrom(c, c.req.valid('json'))
      return c.body(null, 204)
    },
  )
  app.openapi(
    createRoute({
      method: 'put',
      path: '/api/v1/me/handle',
      security: signedIn,
      request: { body: jsonBody(changeHandleShape) },
      responses: {
        200: json(z.object({ user: selfShape }), 'The user’s own account'),
        ...writeProblems(401, 409),
      },
    }),
    async (c) => {
      const { userId } = await changeHandleFrom(c, c.req.valid('json'))
      return c.json({ user: await getSelf(c.get('tiers'), userId) }, 200)
    },
  )
  app.openapi(
    createRoute({
      method: 'put',
      path: '/api/v1/me/email',
      security: signedIn,
      request: { body: jsonBody(changeEmailShape) },
      responses: {
        202: { description: 'The address changes when the link in the mail to the new one is used' },
        ...writeProblems(401, 409),
      },
    }),
    async (c) => {
      await changeEmailFrom(c, c.req.valid('json'))
      return c.body(null, 202)
    },
  )
  app.openapi(
    createRoute({
      method: 'post',
      path: '/api/v1/email-changes/{token}',
      middleware: noBody,
      request: { params: tokenParam },
      responses: { ...noContent, ...writeProblems(404, 409) },
    }),
    async (c) => {
      await confirmEmailChange(c.get('tiers'), c.req.valid('param').token, publicOrigin(c), retryKey(c))
      return c.body(null, 204)
    },
  )
}

// ── shared by API and pages: turn a request into a call of the noun ───────────────────────────────

type C = Context<WebEnv>

const userAgent = (c: C): string => c.req.header('user-agent') ?? ''

export async function signUpFrom(
  c: C,
  input: z.infer<typeof signUpShape>,
  retry: ReturnType<typeof retryKey>,
): Promise<SignedIn> {
  refuseCommonPassword(input.password, '/password')
  await limitCredentials(c, normaliseEmail(input.email))
  const { sessions } = c.get('tiers')
  const signedIn = await signUp(c.get('tiers'), input, { origin: publicOrigin(c), userAgent: userAgent(c), retry })
  sessions.endReplaced(signedIn.userId, replacedToken(c))
  writeSessionCookies(c, signedIn)
  return signedIn
}

export async function logInFrom(
  c: C,
  input: z.infer<typeof logInShape>,
  retry: ReturnType<typeof retryKey>,
): Promise<SignedIn> {
  await limitCredentials(c, input.login)
  const from = { origin: publicOrigin(c), userAgent: userAgent(c) }
  const signedIn = await announceRetry(c, logIn(c.get('tiers'), input, from, retry, replacedToken(c)))
  writeSessionCookies(c, signedIn)
  return signedIn
}

/**
 * The token that a sign-up or log-in replaces in a browser, or null. Browsers send `Origin` or `Sec-Fetch-Site` with
 * every POST. A program with a cookie jar may still use the token as Bearer.
 */
function replacedToken(c: C): string | null {
  const isBrowser = ['origin', 'sec-fetch-site'].some((name) => c.req.header(name) !== undefined)
  return isBrowser ? readCookie(c, 'session') : null
}

async function answerSignedIn(c: C, { userId, token }: SignedIn) {
  return { user: await getSelf(c.get('tiers'), userId), token }
}

export async function listSessions(c: C) {
  const sessions = await c.get('tiers').sessions.list(await requireSession(c))
  return sessions.map((one) => ({ ...one, createdAt: rfc3339(one.createdAt), lastSeenAt: rfc3339(one.lastSeenAt) }))
}

/** Ends a session of the user. `id` may be `current`. Throws NOT_FOUND. */
export async function endSession(c: C, id: string): Promise<void> {
  const session = await requireSession(c)
  const target = id === 'current' ? session.id : id
  if (!isId(target) || !(await c.get('tiers').sessions.end(session, target)))
    throw new BanyanError('NOT_FOUND', 'You have no session with this id. It may have ended already.')
  if (target === session.id) clearSessionCookies(c)
}

/** Looks up the account after the answer, so neither the answer nor its time reveals whether the address has one. */
export async function requestResetFrom(c: C, address: string): Promise<void> {
  await limitCredentials(c, address, 'reset')
  const tiers = c.get('tiers')
  const work = requestPasswordReset(tiers, address, publicOrigin(c), retryKey(c))
  tiers.waitUntil(
    work
      .then(() => tiers.afterResponse())
      .catch((error) => tiers.log.error('password-reset.failed', { reason: messageOf(error) })),
  )
}

export async function resetPasswordFrom(c: C, token: string, next: string): Promise<void> {
  refuseCommonPassword(next, '/password')
  await limitCredentials(c, token)
  await resetPassword(c.get('tiers'), token, next, publicOrigin(c), retryKey(c))
}

/** Gives a browser a new session, and its two cookies. The token of a Bearer client stays valid (decision 0035). */
export async function changePasswordFrom(c: C, input: z.infer<typeof changePasswordShape>): Promise<void> {
  refuseCommonPassword(input.next, '/next')
  const session = await requireSession(c)
  await limitCredentials(c, session.userId)
  const rotates = bearerToken(c) === null
  const origin = publicOrigin(c)
  const rotated = await announceRetry(c, changePassword(c.get('tiers'), session, input, origin, rotates))
  if (!rotated) return
  c.set('session', async () => rotated.session)
  writeSessionCookies(c, rotated)
}

export async function changeHandleFrom(c: C, { handle }: z.infer<typeof changeHandleShape>): Promise<Session> {
  const session = await requireSession(c)
  await limitCredentials(c, session.userId, 'handle') // its answer tells whether a handle is taken
  await changeHandle(c.get('tiers'), session, handle)
  return session
}

/** The session stays as it is. It proves the same user as before (decision 0043). */
export async function changeEmailFrom(c: C, input: z.infer<typeof changeEmailShape>): Promise<void> {
  const session = await requireSession(c)
  await limitCredentials(c, session.userId)
  await announceRetry(c, requestEmailChange(c.get('tiers'), session, input, publicOrigin(c)))
}

import type { OpenAPIHono } from '@hono/zod-openapi'
import { z } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { BanyanError, hasCode } from '../../core/errors.ts'
import { limits } from '../../core/limits.ts'
import type { Session } from '../../sessions/sessions.ts'
import { batchByName } from '../../sharding/named-batch.ts'
import { publicOrigin } from '../../web/api.ts'
import type { Tiers, WebEnv } from '../../web/context.ts'
import { clearSessionCookies } from '../../web/cookies.ts'
import type { FieldErrors } from '../../web/fields.tsx'
import { type FormStatus, onceOrAnew, parseForm, submit } from '../../web/form.ts'
import type { Notice } from '../../web/layout.tsx'
import { formWithFiles } from '../../web/middleware/body.ts'
import { sharedPage } from '../../web/middleware/cache-control.ts'
import { limitCredentials } from '../../web/middleware/rate-limits.ts'
import { requireSession } from '../../web/middleware/session.ts'
import { page, readForm } from '../../web/page.tsx'
import { storeFile } from '../media/form.ts'
import { selfIn, selfQuery, updateProfile } from '../profiles/profiles.ts'
import { profileChange, type Self } from '../profiles/shapes.ts'
import { findViewer } from '../profiles/viewer.ts'
import { requestVerification, verifyEmail } from './accounts.ts'
import { confirmEmailChange, pendingEmailQuery } from './email-changes.ts'
import { Landing } from './landing.tsx'
import { logInNoticesQuery, switchLogInNotices, unsubscribeLogInNotices } from './log-in-notices.ts'
import { NoticesSection, UnsubscribedPage, UnsubscribePage } from './notices-views.tsx'
import {
  changeEmailFrom,
  changeHandleFrom,
  changePasswordFrom,
  endSession,
  listSessions,
  logInFrom,
  requestResetFrom,
  resetPasswordFrom,
  signUpFrom,
} from './routes.ts'
import { SettingsPage } from './settings-views.tsx'
import {
  changeEmailShape,
  changeHandleShape,
  changePasswordShape,
  email,
  logInShape,
  password,
  signUpShape,
} from './shapes.ts'
import {
  ConfirmEmailPage,
  ForgotPasswordPage,
  LogInPage,
  ResetPasswordPage,
  SignUpPage,
  VerifyEmailPage,
} from './views.tsx'

type C = Context<WebEnv>

export function accountPages(app: OpenAPIHono<WebEnv>): void {
  app.get('/', sharedPage('ofCode'), async (c) => {
    const viewer = await findViewer(c)
    return viewer ? c.redirect(c.get('site').home) : page(c, { title: 'Banyan', viewer }, <Landing />)
  })
  app.get('/signup', async (c) =>
    page(
      c,
      { title: 'Sign up', viewer: await findViewer(c) },
      <SignUpPage values={{}} errors={{}} idempotencyKey={crypto.randomUUID()} />,
    ),
  )
  app.post('/signup', signUpForm)
  app.get('/login', sharedPage('ofCode', 'next'), async (c) =>
    page(
      c,
      { title: 'Log in', viewer: await findViewer(c) },
      <LogInPage values={{}} errors={{}} next={ownPath(c.req.query('next'))} />,
    ),
  )
  app.post('/login', logInForm)
  app.post('/logout', async (c) => {
    await logOut(c)
    return c.redirect('/', 303)
  })

  app.get('/settings', (c) => settings(c))
  app.post('/settings/profile', profileForm)
  app.post('/settings/avatar', formWithFiles(limits.pictureBytesMax + limits.bodyBytesMax), avatarForm)
  app.post('/settings/handle', handleForm)
  app.post('/settings/email', emailForm)
  app.post('/settings/password', passwordForm)
  app.post('/settings/notices', noticesForm)
  app.post('/settings/email-verification', async (c) => {
    const session = await requireSession(c)
    const failed = await submit(async () => {
      await limitCredentials(c, session.userId)
      await requestVerification(c.get('tiers'), session, publicOrigin(c), null)
    })
    return failed ? settings(c, failed) : settings(c, { sent: true })
  })
  app.post('/settings/sessions/end-others', async (c) => {
    await c.get('tiers').sessions.endOthers(await requireSession(c))
    return c.redirect('/settings', 303)
  })
  app.post('/settings/sessions/:id/end', async (c) => {
    await endSession(c, c.req.param('id'))
    return c.redirect('/settings', 303)
  })

  app.get('/verify-email/:token', async (c) =>
    page(
      c,
      { title: 'Confirm your e-mail', viewer: await findViewer(c) },
      <VerifyEmailPage token={c.req.param('token')} />,
    ),
  )
  app.post('/verify-email/:token', async (c) => {
    await verifyEmail(c.get('tiers'), c.req.param('token'), null)
    return c.redirect((await c.get('session')()) ? '/settings' : '/login', 303)
  })
  app.get('/confirm-email/:token', async (c) =>
    page(
      c,
      { title: 'Confirm your new e-mail', viewer: await findViewer(c) },
      <ConfirmEmailPage token={c.req.param('token')} errors={{}} />,
    ),
  )
  app.post('/confirm-email/:token', async (c) => {
    const token = c.req.param('token')
    const failed = await submit(() => confirmEmailChange(c.get('tiers'), token, publicOrigin(c), null))
    if (!failed) return c.redirect((await c.get('session')()) ? '/settings' : '/login', 303)
    const content = <ConfirmEmailPage token={token} errors={{ '': Object.values(failed.errors).join(' ') }} />
    return page(c, { title: 'Confirm your new e-mail', viewer: await findViewer(c), status: failed.status }, content)
  })
  app.get('/unsubscribe/:token', async (c) =>
    page(c, { title: 'Mails', viewer: await findViewer(c) }, <UnsubscribePage token={c.req.param('token')} />),
  )
  app.post('/unsubscribe/:token', async (c) => {
    await unsubscribeLogInNotices(c.get('tiers'), c.req.param('token'))
    return page(c, { title: 'Mails', viewer: null }, <UnsubscribedPage />)
  })
  app.get('/forgot-password', sharedPage('ofCode'), (c) =>
    page(c, { title: 'Set a new password', viewer: null }, <ForgotPasswordPage sent={false} errors={{}} />),
  )
  app.post('/forgot-password', async (c) => {
    const values = readForm(c)
    const failed = await submit(() => requestResetFrom(c, parseForm(z.object({ email }), values).email))
    const content = <ForgotPasswordPage sent={!failed} errors={failed?.errors ?? {}} values={values} />
    return page(c, { title: 'Set a new password', viewer: null, status: failed?.status }, content)
  })
  app.get('/reset-password/:token', (c) =>
    page(
      c,
      { title: 'Set a new password', viewer: null },
      <ResetPasswordPage token={c.req.param('token')} errors={{}} />,
    ),
  )
  app.post('/reset-password/:token', async (c) => {
    const token = c.req.param('token')
    const values = readForm(c)
    const failed = await submit(() => resetPasswordFrom(c, token, parseForm(z.object({ password }), values).password))
    if (!failed) return c.redirect('/login', 303)
    const content = <ResetPasswordPage token={token} errors={failed.errors} />
    return page(c, { title: 'Set a new password', viewer: null, status: failed.status }, content)
  })
}

/** Succeeds also if the session has ended in the meantime. */
async function logOut(c: C): Promise<void> {
  try {
    if (await c.get('session')()) await endSession(c, 'current')
    else clearSessionCookies(c)
  } catch (error) {
    if (!hasCode(error, 'SESSION_ENDED')) throw error
    clearSessionCookies(c)
  }
}

async function signUpForm(c: C) {
  const { idempotencyKey, displayName = '', ...rest } = readForm(c)
  const failed = await submit(async () => {
    const input = parseForm(signUpShape, displayName.trim() ? { ...rest, displayName } : rest)
    await onceOrAnew(c, idempotencyKey, (retry) => signUpFrom(c, input, retry))
  })
  if (!failed) return c.redirect(c.get('site').home, 303)
  const content = (
    <SignUpPage values={{ ...rest, displayName }} errors={failed.errors} idempotencyKey={crypto.randomUUID()} />
  )
  return page(c, { title: 'Sign up', viewer: null, status: failed.status }, content)
}

async function logInForm(c: C) {
  const { next, ...values } = readForm(c)
  const failed = await submit(() => logInFrom(c, parseForm(logInShape, values), null))
  if (!failed) return c.redirect(ownPath(next) ?? c.get('site').home, 303)
  const content = <LogInPage values={values} errors={failed.errors} next={ownPath(next)} />
  return page(c, { title: 'Log in', viewer: null, status: failed.status }, content)
}

/** Sets the picture of the form, or none. */
async function avatarForm(c: C) {
  const session = await requireSession(c)
  const { remove } = readForm(c)
  const failed = await submit(async () => {
    const stored = remove ? null : await storeFile(c, session, { field: 'avatar', alt: '', retry: null })
    if (!stored && !remove) throw noFile()
    await updateProfile(c.get('tiers'), session, { avatarId: stored?.id ?? null })
  })
  if (failed) return settings(c, failed)
  return settings(c, {
    notice: { kind: 'good', text: remove ? 'Removed.' : 'Saved. Your picture appears in a moment.' },
  })
}

function noFile(): BanyanError {
  const detail = 'Choose a picture first.'
  return new BanyanError('INVALID', detail, { errors: [{ pointer: '/avatar', detail }] })
}

async function profileForm(c: C) {
  const session = await requireSession(c)
  const values = readForm(c)
  const failed = await submit(() => updateProfile(c.get('tiers'), session, parseForm(profileChange, values)))
  return failed ? settings(c, { ...failed, values }) : settings(c, { notice: { kind: 'good', text: 'Saved.' } })
}

async function handleForm(c: C) {
  await requireSession(c)
  const values = readForm(c)
  const failed = await submit(() => changeHandleFrom(c, parseForm(changeHandleShape, values)))
  return failed
    ? settings(c, { ...failed, values })
    : settings(c, { notice: { kind: 'good', text: 'Your handle is saved.' } })
}

async function emailForm(c: C) {
  await requireSession(c)
  const { password = '', email = '' } = readForm(c)
  const failed = await submit(() => changeEmailFrom(c, parseForm(changeEmailShape, { email, password })))
  if (!failed) return settings(c)
  const { password: wrong, '': whole, ...errors } = failed.errors
  const ofPassword = wrong ?? (failed.status === 401 ? whole : undefined)
  return settings(c, {
    status: failed.status === 401 ? 422 : failed.status,
    errors: {
      ...errors,
      ...(ofPassword ? { emailPassword: ofPassword } : {}),
      ...(whole && !ofPassword ? { '': whole } : {}),
    },
    values: { email },
  })
}

async function noticesForm(c: C) {
  const session = await requireSession(c)
  await switchLogInNotices(c.get('tiers'), session, readForm(c).newLogIn === 'on')
  return settings(c, { notice: { kind: 'good', text: 'Saved.' } })
}

async function passwordForm(c: C) {
  await requireSession(c)
  const values = readForm(c)
  const failed = await submit(() => changePasswordFrom(c, parseForm(changePasswordShape, values)))
  if (failed?.status === 401) return settings(c, { status: 422, errors: { current: failed.errors[''] ?? '' } })
  if (failed) return settings(c, failed)
  return settings(c, {
    notice: { kind: 'good', text: 'Your password is changed, and your other sessions are signed out.' },
  })
}

interface SettingsState {
  errors?: FieldErrors
  status?: FormStatus
  values?: Record<string, string>
  sent?: boolean
  notice?: Notice
}

async function settings(c: C, { errors = {}, status, values = {}, sent = false, notice }: SettingsState = {}) {
  const session = await c.get('session')()
  if (!session) return c.redirect('/login?next=/settings', 303)
  const [{ self, pendingEmail, hasLogInNotices }, sessions] = await Promise.all([
    readSettings(c.get('tiers'), session),
    listSessions(c),
  ])
  const content = (
    <SettingsPage
      self={self}
      pendingEmail={pendingEmail}
      notices={<NoticesSection isOn={hasLogInNotices} />}
      sessions={sessions}
      errors={errors}
      values={values}
      sent={sent}
    />
  )
  return page(c, { title: 'Settings', viewer: self, notice: notice ?? null, status }, content)
}

interface ReadSettings {
  self: Self
  pendingEmail: string | null
  hasLogInNotices: boolean
}

/** The own account, the pending change of its address, and the choice of mails, in one batch. */
async function readSettings(tiers: Tiers, session: Session): Promise<ReadSettings> {
  const database = tiers.sessions.database(session, { operation: 'accounts.settings' })
  const { self, pending, notices } = await batchByName(database, {
    self: selfQuery(tiers, database, session.userId),
    pending: pendingEmailQuery(database, session.userId, tiers.clock.now()),
    notices: logInNoticesQuery(database, session.userId),
  })
  return {
    self: selfIn(self),
    pendingEmail: pending.results[0]?.email ?? null,
    hasLogInNotices: notices.results[0]?.isOn === 1,
  }
}

/** A path of this site to redirect to, or null. Never another site's. */
function ownPath(next: string | undefined): string | null {
  return next && /^\/(?![/\\])[\x21-\x7e]*$/.test(next) ? next : null
}

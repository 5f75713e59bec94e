import { beforeEach, describe, expect, test } from 'vitest'
import '../../support/light-passwords.ts'
import {
  changePassword,
  logIn,
  requestPasswordReset,
  requestVerification,
  resetPassword,
} from '../../../src/app/accounts/accounts.ts'
import { confirmEmailChange, requestEmailChange } from '../../../src/app/accounts/email-changes.ts'
import { switchLogInNotices, unsubscribeLogInNotices } from '../../../src/app/accounts/log-in-notices.ts'
import type { MailPurpose } from '../../../src/app/accounts/mail-tokens.ts'
import { BanyanError } from '../../../src/core/errors.ts'
import { limits } from '../../../src/core/limits.ts'
import type { Mail } from '../../../src/jobs/mail.ts'
import type { Job } from '../../../src/jobs/outbox.ts'
import { type Member, member } from '../../support/members.ts'
import { emptyShards, rows } from '../../support/shard-rows.ts'
import { type TestIsolate, World } from '../../support/tiers.ts'
import { somebody, workerIsolate } from '../../support/worker-isolate.ts'

const ORIGIN = 'http://localhost'
const NEXT = 'another pass phrase'
const FIREFOX = 'Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0'
const CHROME = 'Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36'
const DAY = 86_400_000

beforeEach(emptyShards)

async function setUp() {
  const world = new World()
  return { world, ada: await member(world) }
}

const enters = ({ tiers }: TestIsolate, { email, password }: Pick<Member, 'email' | 'password'>, userAgent: string) =>
  logIn(tiers, { login: email, password }, { origin: ORIGIN, userAgent }, null)

/** Logs in with a device, and runs the jobs. The mails that this sent. */
async function entered(world: World, ada: Pick<Member, 'email' | 'password'>, userAgent: string): Promise<Mail[]> {
  const sent = world.mails.length
  const isolate = world.isolate()
  await enters(isolate, ada, userAgent)
  await isolate.afterResponse()
  return world.mails.slice(sent)
}

const linkTo = (world: World, path: string) =>
  world.mails.findLast(({ text }) => text.includes(`/${path}/`))!.text.match(new RegExp(`/${path}/(\\S+)`))![1]!

interface Given {
  world: World
  ada: Member
  isolate: TestIsolate
}

/** Per purpose: who gets the mail, the address of its button, and the change that it follows. */
const kinds: [purpose: MailPurpose, given: { to?: string; url: RegExp; change(given: Given): Promise<unknown> }][] = [
  [
    'verify-email',
    {
      url: /^http:\/\/localhost\/verify-email\/\S+$/,
      change: ({ ada, isolate }) => requestVerification(isolate.tiers, ada.session, ORIGIN, null),
    },
  ],
  [
    'reset-password',
    {
      url: /^http:\/\/localhost\/reset-password\/\S+$/,
      change: ({ ada, isolate }) => requestPasswordReset(isolate.tiers, ada.email, ORIGIN, null),
    },
  ],
  [
    'change-email',
    {
      to: 'next@example.com',
      url: /^http:\/\/localhost\/confirm-email\/\S+$/,
      change: ({ ada: { session, password }, isolate }) =>
        requestEmailChange(isolate.tiers, session, { email: 'next@example.com', password }, ORIGIN),
    },
  ],
  [
    'email-changed',
    {
      url: /^http:\/\/localhost\/login$/,
      async change({ world, ada: { session, password }, isolate }) {
        await requestEmailChange(isolate.tiers, session, { email: 'next@example.com', password }, ORIGIN)
        await isolate.afterResponse()
        await confirmEmailChange(isolate.tiers, linkTo(world, 'confirm-email'), ORIGIN, null)
      },
    },
  ],
  [
    'password-changed',
    {
      url: /^http:\/\/localhost\/forgot-password$/,
      change: ({ ada: { session, password }, isolate }) =>
        changePassword(isolate.tiers, session, { current: password, next: NEXT }, ORIGIN, true),
    },
  ],
  [
    'new-log-in',
    { url: /^http:\/\/localhost\/settings$/, change: ({ ada, isolate }) => enters(isolate, ada, FIREFOX) },
  ],
]

/** The committed job of a purpose, and the isolate's other jobs, which do not run. */
async function committed(purpose: MailPurpose, change: (given: Given) => Promise<unknown>) {
  const { world, ada } = await setUp()
  const isolate = world.isolate()
  await change({ world, ada, isolate })
  const jobs = isolate.committed.filter(({ kind }) => kind === `mail.${purpose}`)
  expect(jobs).toHaveLength(1)
  world.mails.length = 0
  return { world, ada, job: jobs[0]! }
}

describe.each(kinds)('%s', (purpose, { to, url, change }) => {
  test('is one mail to the right address, as text and HTML, with its link and its end', async () => {
    const { world, ada, job } = await committed(purpose, change)
    await world.isolate().dispatch.run(job, 1)
    const [mail, ...more] = world.mails
    expect(more).toEqual([])
    expect(mail).toMatchObject({ to: to ?? ada.email, messageId: job.id })
    expect(mail!.text.match(/https?:\/\/\S+/)![0]).toMatch(url)
    expect(mail!.html).toContain(`href="${mail!.text.match(/https?:\/\/\S+/)![0]}"`)
    const isOnce = url.source.includes('\\S')
    expect(/works once, until \d+ \w{3} \d{4}, \d\d:\d\d UTC/.test(mail!.text)).toBe(isOnce)
    expect(mail!.text).toMatch(/If (it was not you|you did not)/)
    const headers = purpose === 'new-log-in' ? ['List-Unsubscribe', 'List-Unsubscribe-Post'] : []
    expect(Object.keys(mail!.headers ?? {})).toEqual(headers)
  })

  test('is sent again with the same id, link and text after a crash between mail and inbox, and not after that', async () => {
    const { world, job } = await committed(purpose, change)
    const crashing = world.isolate()
    const hold = crashing.holdAt(`jobs.mail.${purpose}`, 'before') // its inbox row
    void crashing.dispatch.run(job, 1)
    await hold.reached
    world.clock.advance(60_000)
    for (const attempt of [2, 3]) await world.isolate().dispatch.run(job, attempt)
    const [first, again, ...rest] = world.mails
    expect([first?.messageId, again, rest]).toEqual([job.id, first, []])
  })
})

test('a job of the previous version, whose body has no facts, mails the same link', async () => {
  const { world, ada } = await setUp()
  const [token] = await rows('mail_tokens', "purpose = 'verify-email'")
  const body = { tokenId: token!.id, origin: ORIGIN }
  const tiers = world.isolate().tiers
  const old: Job = {
    ...{ id: tiers.ids.ownedId(ada.userId), ownerId: ada.userId, attempts: 0 },
    kind: 'mail.verify-email',
    body,
    createdAt: world.clock.now(),
  }
  const before = linkTo(world, 'verify-email')
  await world.isolate().dispatch.run(old, 1)
  expect([world.mails.length, linkTo(world, 'verify-email')]).toEqual([2, before])
})

test('a mail whose link has expired while it waited is not sent', async () => {
  const { world, job } = await committed('reset-password', kinds[1]![1].change)
  world.clock.advance(limits.resetMinutes * 60_000)
  expect(await world.isolate().dispatch.run(job, 1)).toEqual({ kind: 'done' })
  expect(world.mails).toEqual([])
})

describe('the notice of a new log-in', () => {
  test('follows a device that is new to the account, and names it; the sign-up’s own and a known one get none', async () => {
    const { world, ada } = await setUp()
    expect(await entered(world, ada, 'a browser')).toEqual([])
    const [mail] = await entered(world, ada, FIREFOX)
    expect([mail?.to, mail?.subject]).toEqual([ada.email, 'New log-in to your account'])
    expect(mail?.text).toContain('Device: Firefox on Linux\n')
    world.clock.advance(limits.logInNoticeMs)
    expect(await entered(world, ada, FIREFOX)).toEqual([])
    expect(await entered(world, ada, FIREFOX.replaceAll('128', '129'))).toEqual([])
    expect(await entered(world, ada, CHROME)).toHaveLength(1)
  })

  test('does not follow a device whose sessions have all ended, or whose session began before devices were kept', async () => {
    const { world, ada } = await setUp()
    const { tiers } = world.isolate()
    await tiers.sessions.end(ada.session, ada.session.id)
    expect(await rows('sessions')).toEqual([])
    expect(await entered(world, ada, 'a browser')).toEqual([])
    await tiers.shards.of(ada.userId).prepare('DELETE FROM known_devices').run()
    expect(await entered(world, ada, 'a browser')).toEqual([])
  })

  test('is one per account and hour, also for log-ins at the same time', async () => {
    const { world, ada } = await setUp()
    const sent = world.mails.length
    const isolates = [FIREFOX, CHROME, 'curl/8.5.0', 'wget/1.21'].map((userAgent) => ({
      userAgent,
      isolate: world.isolate(),
    }))
    await Promise.all(isolates.map(({ isolate, userAgent }) => enters(isolate, ada, userAgent)))
    for (const { isolate } of isolates) await isolate.afterResponse()
    expect(world.mails.slice(sent)).toHaveLength(1)
    world.clock.advance(limits.logInNoticeMs - 1)
    expect(await entered(world, ada, 'hourly/1')).toEqual([])
    world.clock.advance(1)
    expect(await entered(world, ada, 'later/1')).toHaveLength(1)
  })

  test('follows a device that was not seen for half a year', async () => {
    const { world, ada } = await setUp()
    await entered(world, ada, FIREFOX)
    world.clock.advance(limits.knownDeviceDays * DAY)
    await world.isolate().tiers.shards.of(ada.userId).prepare('DELETE FROM sessions').run()
    expect(await entered(world, ada, FIREFOX)).toHaveLength(1)
  })

  test('is not written with a wrong password, or by a log-in whose password changed meanwhile', async () => {
    const { world, ada } = await setUp()
    const isolate = world.isolate()
    await expect(enters(isolate, { ...ada, password: 'not this one' }, FIREFOX)).rejects.toThrow(BanyanError)
    isolate.meanwhile('accounts.log-in', 'before', () =>
      changePassword(world.isolate().tiers, ada.session, { current: ada.password, next: NEXT }, ORIGIN, false),
    )
    await expect(enters(isolate, ada, FIREFOX)).rejects.toThrow(BanyanError)
    expect([isolate.committed, await rows('outbox', "kind = 'mail.new-log-in'")]).toEqual([[], []])
    expect(await rows('known_devices')).toHaveLength(1)
  })

  test('can be switched off and on in the settings; other notices stay', async () => {
    const { world, ada } = await setUp()
    const { tiers } = world.isolate()
    await switchLogInNotices(tiers, ada.session, false)
    expect(await entered(world, ada, FIREFOX)).toEqual([])
    await switchLogInNotices(tiers, ada.session, true)
    expect(await entered(world, ada, CHROME)).toHaveLength(1)
    await switchLogInNotices(tiers, ada.session, false)
    const isolate = world.isolate()
    await changePassword(isolate.tiers, ada.session, { current: ada.password, next: NEXT }, ORIGIN, false)
    await isolate.afterResponse()
    expect(world.mails.at(-1)!.subject).toBe('Your password was changed')
  })
})

describe('the notice of a changed password', () => {
  test('follows a reset, too, and goes to the address of that moment', async () => {
    const { world, ada } = await setUp()
    const isolate = world.isolate()
    await requestPasswordReset(isolate.tiers, ada.email, ORIGIN, null)
    await isolate.afterResponse()
    await resetPassword(isolate.tiers, linkTo(world, 'reset-password'), NEXT, ORIGIN, null)
    const { tiers } = world.isolate()
    await tiers.shards.of(ada.userId).prepare("UPDATE accounts SET email = 'thief@example.com'").run()
    await isolate.afterResponse()
    const notice = world.mails.at(-1)!
    expect([notice.to, notice.subject]).toEqual([ada.email, 'Your password was changed'])
  })

  test('is not written by a change that lost to another one', async () => {
    const { world, ada } = await setUp()
    const isolate = world.isolate()
    isolate.meanwhile('accounts.change-password', 'before', () =>
      changePassword(world.isolate().tiers, ada.session, { current: ada.password, next: NEXT }, ORIGIN, false),
    )
    const change = { current: ada.password, next: 'a third pass phrase' }
    await expect(changePassword(isolate.tiers, ada.session, change, ORIGIN, false)).rejects.toThrow(BanyanError)
    expect(isolate.committed).toEqual([])
    expect(await rows('outbox', "kind = 'mail.password-changed'")).toHaveLength(1) // of the change that won
  })
})

describe('the link that switches the notice off', () => {
  async function noticed() {
    const { request, mails } = workerIsolate()
    const ada = somebody()
    await request('POST', '/api/v1/accounts', { json: ada, headers: { 'user-agent': CHROME } })
    const logsIn = (userAgent: string) =>
      request('POST', '/api/v1/sessions', {
        json: { login: ada.email, password: ada.password },
        headers: { 'user-agent': userAgent },
      })
    await logsIn(FIREFOX)
    const { headers } = mails.at(-1)!
    const url = headers['List-Unsubscribe']!.replace(/^<|>$/g, '')
    const isOn = async () => (await rows('accounts', `email = '${ada.email}'`))[0]!.log_in_notices === 1
    return { request, mails, headers, path: url.slice(ORIGIN.length), isOn }
  }

  const bodies = {
    'application/x-www-form-urlencoded': 'List-Unsubscribe=One-Click',
    'multipart/form-data; boundary=x':
      '--x\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--x--\r\n',
  }

  test.each(Object.entries(bodies))(
    'works by one POST of a mail service, as %s, without a session',
    async (type, body) => {
      const { request, headers, path, isOn } = await noticed()
      expect(headers['List-Unsubscribe-Post']).toBe('List-Unsubscribe=One-Click')
      const answer = await request('POST', path, { body, headers: { 'content-type': type } })
      expect([answer.status, await isOn()]).toEqual([200, false])
      expect(answer.headers.getSetCookie().join()).not.toContain('session')
    },
  )

  test('shows a button to a person, changes nothing by a GET, and sends other sites no Referer', async () => {
    const { request, path, isOn } = await noticed()
    const answer = await request('GET', path)
    expect(answer.text).toContain(`<form class="form" method="post" action="${path}">`)
    expect(answer.headers.get('referrer-policy')).toBe('same-origin')
    expect(await isOn()).toBe(true)
  })

  test('works only as it was signed, for its account and its purpose', async () => {
    const { request, path, isOn } = await noticed()
    const [userId = '', proof = ''] = path.slice('/unsubscribe/'.length).split('.')
    const other = workerIsolate()
    const { user } = (await other.request('POST', '/api/v1/accounts', { json: somebody() })).json<{
      user: { id: string }
    }>()
    const wrong = [
      userId,
      `${userId}.`,
      `${userId}.${proof.slice(1)}`,
      `${userId}.${'A'.repeat(43)}`,
      `${user.id}.${proof}`,
      `${userId}.${proof}.x`,
      `.${proof}`,
    ]
    for (const token of wrong) expect((await request('POST', `/unsubscribe/${token}`)).status, token).toBe(404)
    const password = await request('POST', `/reset-password/${userId}.${proof}`, {
      body: new URLSearchParams({ password: NEXT }).toString(),
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
    })
    expect([password.status, await isOn()]).toEqual([404, true])
    expect(await rows('accounts', 'log_in_notices = 0')).toEqual([])
  })

  test('of another key is refused', async () => {
    const { path } = await noticed()
    const { tiers } = new World().isolate({ settings: { signingKey: 'another key of at least 32 characters' } })
    const unsubscribing = unsubscribeLogInNotices(tiers, path.slice('/unsubscribe/'.length))
    await expect(unsubscribing).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })
})

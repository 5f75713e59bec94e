import { expect, test } from 'vitest'
import { operator } from '../../../../src/app/profiles/load.operator.ts'
import { reportText } from '../../../../src/cli/load/report.ts'
import { nth, once, runOn, type Setting, whole } from '../../../support/load-run.ts'
import { answered, type Faults, notFound, problem, type Route, type Sent } from '../../../support/misbehaving-server.ts'

interface Mistakes {
  /** True for an edit that is acknowledged but not stored. */
  forgets?(sent: Sent): boolean
  /** Shows the bio before the newest. */
  isStale?(sent: Sent): boolean
}

/** Profiles by handle, which is also the owner's token. */
function profiles({ forgets, isStale }: Mistakes): Route {
  const bios = new Map<string, string[]>()
  return (sent) => {
    const { method, path, json, token } = sent
    if (method === 'PATCH' && path === '/api/v1/me' && token) {
      if (!forgets?.(sent)) bios.set(token, [...(bios.get(token) ?? []), json.bio ?? ''])
      return answered(200, {})
    }
    const [, handle] = /^\/api\/v1\/users\/(\w+)$/.exec(path) ?? []
    if (!handle) return null
    const bio = bios.get(handle)?.at(isStale?.(sent) ? -2 : -1) ?? ''
    return answered(200, { user: { handle, bio } })
  }
}

const load = ({ forgets, isStale, ...faults }: Faults & Mistakes = {}, options: Partial<Setting> = {}) => {
  const mistakes = { ...(forgets ? { forgets } : {}), ...(isStale ? { isStale } : {}) }
  return runOn({ routes: [profiles(mistakes)], faults, nouns: [operator], ...options })
}

const ME = /^\/api\/v1\/me$/
const USER = /^\/api\/v1\/users\/\w+$/

test('profiles are read, edited and read back', async () => {
  const { report, server } = await load()
  expect(report.isSound).toBe(true)
  expect(report.kinds.map(({ kind }) => kind)).toEqual(['read profile', 'edit profile', 'all'])
  const edits = server.sent.filter(({ method }) => method === 'PATCH').length
  expect(edits).toBeGreaterThan(80)
  expect(report.writes).toEqual({ acknowledged: edits, refused: 0, unknown: 0 })
  expect(report.readBack).toEqual({ profiles: 4, late: 0, ...whole })
  expect(reportText(report)).toContain('read back  4 profiles: 0 lost')
  // A quarter of the reads, and a fourth of the rest, are of the reader's own profile.
  const reads = server.sent.filter(({ method, path, token }) => method === 'GET' && token && USER.test(path))
  const own = reads.filter(({ path, token }) => path.endsWith(`/${token}`))
  expect(own.length / reads.length).toBeGreaterThan(0.3)
  expect(own.length / reads.length).toBeLessThan(0.6)
  expect(report.sightings).toMatchObject({ own: own.length, stale: 0 })
})

test('profiles without edits are sound', async () => {
  const { report } = await load({}, { reads: 1 })
  expect(report.sightings.own).toBeGreaterThan(50)
  expect(report).toMatchObject({ isSound: true, sightings: { stale: 0 }, readBack: { profiles: 4, ...whole } })
})

test('an acknowledged edit that is missing is lost', async () => {
  let edits = 0
  const last = nth(3, 'PATCH', ME)
  // It is the last edit.
  const refuse = ({ method }: Sent) => (method === 'PATCH' && ++edits > 3 ? problem(422, 'INVALID') : null)
  const { report } = await load({ forgets: last, refuse })
  expect(report.readBack).toMatchObject({ ...whole, lost: 1 })
  expect(report.isSound).toBe(false)
  expect(report.examples[0]).toMatch(/^(stale|lost): /)
  const lost = report.examples.find((example) => example.startsWith('lost: '))
  expect(lost).toMatch(/^lost: profile load_test_\d has (text \d+|another text); acknowledged was text \d+$/)
})

test.each<[string, () => Response]>([
  ['that a reader without a token does not find', notFound],
  ['with a bio that was never sent', () => answered(200, { user: { bio: 'from elsewhere' } })],
  ['without a bio', () => answered(200, {})],
])('a profile %s is reported as lost', async (_, answer) => {
  const refuse = ({ path, token }: Sent) => (!token && path.endsWith('/load_test_2') ? answer() : null)
  const { report } = await load({ refuse })
  expect(report.readBack).toMatchObject({ ...whole, lost: 1 })
})

test('a bio that exists before any write is lost', async () => {
  const refuse = ({ path, token }: Sent) =>
    !token && path.endsWith('/load_test_2') ? answered(200, { user: { bio: 'from elsewhere' } }) : null
  const { report } = await load({ refuse }, { reads: 1 })
  expect(report.readBack).toMatchObject({ ...whole, lost: 1 })
})

test('a profile without an answer is unread', async () => {
  const refuse = ({ path, token }: Sent) => (!token && path.endsWith('/load_test_2') ? problem(500, 'INTERNAL') : null)
  const { report } = await load({ refuse })
  expect(report.readBack).toMatchObject({ ...whole, unread: 1 })
  expect(report.examples).toEqual(['unread: profile load_test_2: 500 INTERNAL'])
})

test('a user’s read of an older bio than the acknowledged one is stale', async () => {
  const { report } = await load({ isStale: ({ token }) => token !== null })
  expect(report.sightings.stale).toBeGreaterThan(0)
  expect(report.readBack).toMatchObject(whole)
  expect(report.isSound).toBe(false)
  expect(report.examples[0]).toMatch(/^stale: GET load_test_\d: (text \d+|another text)$/)
})

test.each([
  ['a slow read', 'GET'],
  ['a slow edit', 'PATCH'],
])('%s may show the previous bio, or one that is not acknowledged yet', async (_, slow) => {
  const { report } = await load({ latencyMs: ({ method }) => (method === slow ? 800 : 1) }, { users: 8 })
  expect(report.sightings).toMatchObject({ stale: 0, unexpected: 0 })
  expect(report.sightings.own).toBeGreaterThan(20)
  expect(report.isSound).toBe(true)
})

test('a bio with an uncertain edit is not edited for 40 s, because the lost attempt may still take effect', async () => {
  const { server, report } = await load({ losesAnswer: once(nth(3, 'PATCH', ME)) })
  const edits = server.sent.filter(({ method }) => method === 'PATCH')
  const retried = edits.find(({ before }) => before > 0)
  const later = edits.slice(edits.findIndex(({ before }) => before > 0) + 1)
  expect(retried).toBeDefined()
  expect(later.length).toBeGreaterThan(20)
  expect(later.filter(({ token }) => token === retried?.token)).toEqual([])
  // With no other kind of write, draws of a profile that waits are dropped.
  expect(report.requests.dropped).toBeGreaterThan(5)
})

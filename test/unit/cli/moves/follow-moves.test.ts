import { expect, test } from 'vitest'
import { type Following, followMoves } from '../../../../src/cli/moves/follow-moves.ts'
import { hasFailed, outcome } from '../../../../src/cli/moves/move-text.ts'
import { NotNow, UserError } from '../../../../src/cli/shell/errors.ts'
import type { Move } from '../../../../src/console/shapes.ts'

const move = (state: Move['state'], more: Partial<Move> = {}): Move => ({
  id: '01m86bdq17b2dcgbhgmc4rp9mp',
  keyspace: 'users',
  slots: '0000-3fff',
  source: 'shard-000',
  target: 'shard-001',
  state,
  progress: 0,
  rowsCopied: 0,
  rowsTotal: 1_204,
  rowsVerified: 0,
  cutoverMs: null,
  reversed: false,
  createdAt: '2026-07-05T12:00:00.000Z',
  settlesAt: null,
  ...more,
})
const settling = move('settling', { progress: 0.95, settlesAt: '2026-07-05T12:05:00.000Z', cutoverMs: 31 })
const unavailable = () => new NotNow('http://localhost:8787 does not answer (ECONNREFUSED).', 'Start it.')

/** Follows a move through these readings (errors are thrown), on a screen that records its output. */
async function follow(readings: (Move | Error)[], options: { isTTY?: boolean; until?: Following['until'] } = {}) {
  const { isTTY = false, until = 'settling' } = options
  const written: string[] = []
  let now = 0
  const last = readings.at(-1)!
  const ended = followMoves([move('planned')], {
    until,
    read: async () => {
      const next = readings.shift() ?? last
      if (next instanceof Error) throw next
      return [next]
    },
    screen: { isTTY, columns: 62, rows: 24, write: (text) => written.push(text) },
    timer: {
      now: () => now,
      sleep: async (ms) => {
        now += ms
      },
    },
  })
  const result = await ended.then(
    ([moved]) => moved,
    (error: unknown) => error,
  )
  return { result, written, seconds: now / 1_000 }
}

test('without a terminal there is a line for each change of state', async () => {
  const copying = { progress: 0.25, rowsCopied: 602 }
  const { result, written } = await follow([
    move('planned'),
    move('copying', copying),
    move('copying', { ...copying, rowsCopied: 900 }),
    settling,
  ])
  expect(result).toBe(settling)
  const head = '01m86bdq17b2dcgbhgmc4rp9mp  shard-000 → shard-001'
  expect(written).toEqual([
    `${head}    0%  planned: 0 of 1,204 rows copied\n`,
    `${head}   25%  copying: 602 of 1,204 rows copied\n`,
    `${head}   95%  settling until 2026-07-05 12:05:00 UTC\n`,
  ])
})

test('on a terminal, a bar is redrawn in place and no line is wider than the screen', async () => {
  const { written } = await follow(
    [move('verifying', { progress: 0.5, rowsCopied: 1_204, rowsVerified: 7 }), settling],
    {
      isTTY: true,
    },
  )
  expect(written).toEqual([
    'Ctrl-C stops watching; the moves continue.\n',
    `shard-000 → shard-001  ${'░'.repeat(24)}   0%  planned\n`,
    '\u001b[1A\u001b[0J',
    `shard-000 → shard-001  ${'█'.repeat(12)}${'░'.repeat(12)}  50%  verifyi\n`,
    '\u001b[1A\u001b[0J',
    `shard-000 → shard-001  ${'█'.repeat(23)}░  95%  settlin\n`,
  ])
})

test('with until done, it watches while the move settles and purges', async () => {
  const { result, written } = await follow([settling, move('purging'), move('done')], { until: 'done' })
  expect(result).toMatchObject({ state: 'done' })
  expect(written).toHaveLength(4)
})

test.each(['aborted', 'failed'] as const)('a move that is %s ends the watching and is a failure', async (state) => {
  const { result, written } = await follow([move('copying', { ending: 'aborted' }), move(state, { error: 'why' })], {
    until: 'done',
  })
  expect(written[1]).toContain('copying, being undone')
  expect(hasFailed(result as Move)).toBe(true)
  expect(hasFailed(settling)).toBe(false)
})

test('a reverse that could not complete is a failure, although the move is settling', async () => {
  const again = { ...settling, error: 'a row differs' }
  expect(hasFailed(again)).toBe(true)
  expect(outcome(again)).toContain('could not be reversed: a row differs')
})

test('an unavailable server is reported once and retried', async () => {
  const { result, written } = await follow([unavailable(), unavailable(), unavailable(), settling])
  expect(result).toBe(settling)
  expect(written.slice(1)).toEqual([
    'http://localhost:8787 does not answer (ECONNREFUSED). Retrying for 30 s.\n',
    'The server answers again.\n',
    expect.stringContaining('settling'),
  ])
})

test('after 30 s the command stops retrying and names the command that resumes watching', async () => {
  const { result, seconds } = await follow([unavailable()])
  expect(seconds).toBeGreaterThanOrEqual(30)
  expect(seconds).toBeLessThan(32)
  expect(result).toBeInstanceOf(UserError)
  expect((result as UserError).fix).toContain('moves show 01m86bdq17b2dcgbhgmc4rp9mp --follow')
})

test('an error that waiting cannot fix ends it at once', async () => {
  const wrong = new UserError('answered 401', 'Pass the right token.')
  expect((await follow([wrong, settling])).result).toBe(wrong)
})

test('a server that sends Retry-After gets no request until then', async () => {
  const later = new NotNow('answered 503', 'Try again in 7 s.', 'DIRECTORY_UNAVAILABLE', 7_000)
  const { result, seconds } = await follow([later, settling])
  expect(result).toBe(settling)
  expect(seconds).toBeCloseTo(7.3)
})

test('a move that was aborted because of a shard’s state names the reason', () => {
  expect(outcome(move('aborted', { error: 'shard-001 is draining: it takes no slots.' }))).toBe(
    'Move 01m86bdq17b2dcgbhgmc4rp9mp, slots 0000-3fff of users: aborted. shard-000 still has the slots. ' +
      'shard-001 is draining: it takes no slots.',
  )
  expect(outcome(move('aborted'))).toMatch(/shard-000 still has the slots\.$/)
})

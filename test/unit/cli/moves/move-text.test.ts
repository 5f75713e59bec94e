import { expect, test } from 'vitest'
import { details, sidesText, stateOf } from '../../../../src/cli/moves/move-text.ts'
import type { Move, MoveSides } from '../../../../src/console/shapes.ts'

const move: Move = {
  ...{ id: 'move-1', keyspace: 'users', slots: '0000-00ff', source: 'shard-000', target: 'shard-001' },
  ...{ state: 'settling', progress: 0.95, rowsCopied: 7, rowsTotal: 7, rowsVerified: 7, cutoverMs: 12 },
  ...{ reversed: false, createdAt: '2026-11-30T08:00:00Z', settlesAt: '2026-11-30T08:05:00Z' },
}
const line = (one: Move, name: string) =>
  details(one)
    .split('\n')
    .find((text) => text.startsWith(name.padEnd(9)))

test('a settling move shows how much it has captured, and warns that a reverse will be refused', () => {
  expect(line(move, 'captured')).toBeUndefined()
  expect(line({ ...move, captured: 12_345, capturedMax: 200_000 }, 'captured')).toBe(
    'captured about 12,345 of 200,000 changes; at 200,000 the capture stops, and a reverse is refused',
  )
  expect(line({ ...move, captureStopped: true }, 'captured')).toContain('can no longer be reversed')
})

test('a waiting move shows the reason', () => {
  expect(line({ ...move, interrupted: 'raise at shard-001: Network connection lost.' }, 'waits')).toContain(
    'the latest turn ended early: raise at shard-001: Network connection lost.',
  )
})

const stuck: Move = { ...move, state: 'committed', stuck: 'activate at shard-001: SLOT_STATE_UNEXPECTED.' }

test('a stuck move shows the reason and the command to decide', () => {
  expect(stateOf(stuck)).toBe('committed, stuck')
  expect(line(stuck, 'stuck')).toBe(
    'stuck    activate at shard-001: SLOT_STATE_UNEXPECTED. Decide: npm run banyan -- moves resolve move-1',
  )
})

test('resolve shows both sides, the moves that own their slots, and only the safe choices', () => {
  const sides: MoveSides['sides'] = [
    { shard: 'shard-000', slots: [{ state: 'fenced', move: 'move-1', slots: 256 }], rows: 20_000, isMore: true },
    {
      shard: 'shard-001',
      slots: [
        { state: 'importing', move: 'move-1', slots: 255 },
        { state: 'moved', move: null, slots: 1 },
      ],
      ...{ rows: 1, isMore: false },
    },
  ]
  expect(sidesText({ move: stuck, sides, choices: ['activate'] }).split('\n')).toEqual([
    'Move move-1, slots 0000-00ff of users: committed, stuck',
    'shard-000  256 fenced; more than 20,000 rows',
    'shard-001  255 importing, 1 moved (of no move); 1 row',
    'Reason: activate at shard-001: SLOT_STATE_UNEXPECTED.',
    'Safe now:',
    expect.stringMatching(/^ {2}--choice activate {2}hands over the slots/),
  ])
  expect(sidesText({ move: stuck, sides: [], choices: [] })).toContain('No choice is safe now.')
})

import type { Plan, RebalanceRequest, StartedMoves } from '../../console/shapes.ts'
import { shortened } from '../moves/move-text.ts'
import { defineCommand } from '../shell/command.ts'
import { UserError } from '../shell/errors.ts'
import { keyspaceOption, watchOptions } from '../shell/options.ts'
import { counted, table } from '../shell/table.ts'
import { decimalOf } from '../shell/whole-number.ts'
import { followed, withHeld } from './started-moves.ts'

const REBALANCE = '/operator/v1/rebalance'
const EVEN = 'The shards are even: nothing to move.'

export const command = defineCommand({
  name: 'rebalance',
  summary: 'makes the shards even with the fewest slots, several moves at once',
  options: {
    'dry-run': { help: 'print the plan, and do nothing' },
    by: { value: 'WHAT', help: 'slots (the default), or bytes: even out the databases’ sizes; no move may be open' },
    tolerance: { value: 'FRACTION', help: 'how far from the mean a shard may stay (slots: 0, bytes: 0.1)' },
    keyspace: { ...keyspaceOption, help: 'only this keyspace: users or claims' },
    ...watchOptions,
  },
  examples: ['rebalance --dry-run', 'rebalance --by bytes --tolerance 0.2'],
  async run(connect, _operands, options) {
    const { by, tolerance, keyspace, until = 'settling', 'no-wait': isLeft = false } = options
    // The server refuses what it does not know.
    const request = {
      ...(by === undefined ? {} : { by }),
      ...(tolerance === undefined ? {} : { tolerance: fraction('--tolerance', tolerance) }),
      ...(keyspace === undefined ? {} : { keyspace }),
    } as RebalanceRequest
    const connection = connect()
    if (options['dry-run']) {
      const plan = await connection.post<Plan>(REBALANCE, { ...request, dryRun: true })
      return { json: plan, text: planned(plan) }
    }
    const started = await connection.post<StartedMoves>(REBALANCE, request)
    return followed(connection, started, { until, isLeft, nothing: EVEN })
  },
})

function planned({ moves, held }: Plan): string {
  if (moves.length === 0) return withHeld(EVEN, held)
  const rows = moves.map(({ keyspace, source, target, slots }) => {
    const count = countOf(slots)
    return [keyspace, shortened(slots), source, target, count.toLocaleString('en')]
  })
  const all = moves.reduce((sum, { slots }) => sum + countOf(slots), 0)
  const lines = table(['keyspace', 'slots', 'from', 'to', 'how many'], rows, 4)
  return withHeld(
    `${lines}\n\n${counted(moves.length, 'move')}, ${counted(all, 'slot')}. Without --dry-run it starts: moves that share no shard run at once.`,
    held,
  )
}

/** Of `0000-00ff,0200-02ff`. */
function countOf(slots: string): number {
  return slots.split(',').reduce((sum, range) => {
    const [first = '0', last = first] = range.split('-')
    return sum + Number.parseInt(last, 16) - Number.parseInt(first, 16) + 1
  }, 0)
}

function fraction(option: string, text: string): number {
  const number = decimalOf(text)
  if (number !== null && number <= 1) return number
  throw new UserError(`${option} is "${text}".`, 'It is a fraction of the mean, from 0 to 1: 0.1 is ten percent.')
}

import type { Plan, RebalanceRequest, StartedMoves } from '../../console/shapes.ts'
import { shortened } from '../moves/move-text.ts'
import { defineCommand } from '../shell/command.ts'
import { UserError } from '../shell/errors.ts'
import { keyspaceOption, watchOptions } from '../shell/options.ts'
import { counted, table } from '../shell/table.ts'
import { decimalOf } from '../shell/whole-number.ts'
import { followed, withHeld } from './started-moves.ts'

const REBALANCE = '/operator/v1/rebalance'
const EVEN = 'The shards are balanced: nothing to move.'

export const command = defineCommand({
  name: 'rebalance',
  summary: 'balances the shards by moving as few slots as possible, several moves at a time',
  details:
    'Idempotent: open moves count as done, and balanced shards stay as they are. A table group that `keyspaces place` ' +
    'put on a shard stays there, unless --keyspace names it.',
  options: {
    'dry-run': { help: 'print the plan, and start nothing' },
    by: {
      value: 'WHAT',
      help: 'what to balance: slots, or bytes (database sizes; refused while a move is open) (default: slots)',
    },
    tolerance: {
      value: 'FRACTION',
      help: 'how far a shard may stay from the mean, as a fraction of the mean (default: 0 for slots, 0.1 for bytes)',
    },
    keyspace: { ...keyspaceOption, help: 'keyspace to balance, which ends its placement (default: all)' },
    ...watchOptions,
  },
  examples: ['rebalance --dry-run', 'rebalance --by bytes --tolerance 0.2'],
  async run(connect, _operands, options) {
    const { by, tolerance, keyspace, until = 'settling', 'no-wait': isLeft = false } = options
    // The server refuses unknown values.
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
    `${lines}\n\n${counted(moves.length, 'move')}, ${counted(all, 'slot')}. Run it without --dry-run to start them. Moves that share no shard run in parallel.`,
    held,
  )
}

/** The number of slots in ranges like `0000-00ff,0200-02ff`. */
function countOf(slots: string): number {
  return slots.split(',').reduce((sum, range) => {
    const [first = '0', last = first] = range.split('-')
    return sum + Number.parseInt(last, 16) - Number.parseInt(first, 16) + 1
  }, 0)
}

function fraction(option: string, text: string): number {
  const number = decimalOf(text)
  if (number !== null && number <= 1) return number
  throw new UserError(`${option} is "${text}".`, 'Pass a fraction of the mean from 0 to 1; 0.1 is ten percent.')
}

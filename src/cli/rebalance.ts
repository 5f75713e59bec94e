import type { Connection } from './client.ts'
import type { Command, Output } from './command.ts'
import { UserError } from './errors.ts'
import { followMoves } from './follow-moves.ts'
import { hasFailed, type Move, outcome, planText, shortened, time } from './move-text.ts'
import { reader, readUntil } from './moves.ts'
import type { OptionName, OptionValues } from './options.ts'
import { counted, table } from './table.ts'
import { decimalOf } from './whole-number.ts'

export interface Started {
  moves: Move[]
  /** Slots that should move too, and are held by moves that haven't ended. */
  held: number
}

interface Plan {
  moves: { keyspace: string; source: string; target: string; slots: string }[]
  held: number
}

const EVEN = 'The shards are even: nothing to move.'

async function rebalance(connect: () => Connection, _operands: string[], options: OptionValues): Promise<Output> {
  const until = readUntil(options)
  const { by, tolerance, keyspace } = options
  const wish = {
    ...(by === undefined ? {} : { by }),
    ...(tolerance === undefined ? {} : { tolerance: fraction('--tolerance', tolerance) }),
    ...(keyspace === undefined ? {} : { keyspace }),
  }
  const connection = connect()
  if (options['dry-run']) {
    const plan = await connection.post<Plan>('/operator/v1/rebalance', { ...wish, dryRun: true })
    return { json: plan, text: planned(plan) }
  }
  const started = await connection.post<Started>('/operator/v1/rebalance', wish)
  return followed(connection, started, until, Boolean(options['no-wait']), EVEN)
}

/** Watches what was started, unless nobody waits for it. `nothing` is said where there was nothing to start. */
export async function followed(
  connection: Connection,
  started: Started,
  until: 'settling' | 'done',
  isLeft: boolean,
  nothing: string,
): Promise<Output> {
  if (started.moves.length === 0) return { json: started, text: withHeld(nothing, started.held) }
  if (isLeft) return { json: started, text: withHeld(started.moves.map(planText).join('\n'), started.held) }
  const moves = await followMoves(started.moves, { until, read: reader(connection), screen: process.stderr })
  return {
    json: { ...started, moves },
    text: withHeld(outcomes(moves), started.held),
    isFailure: moves.some(hasFailed),
  }
}

function outcomes(moves: Move[]): string {
  const [first] = moves
  if (moves.length === 1) return outcome(first!)
  const lines = moves.map((move) => outcome(move).split('\n')[0])
  const settling = moves.filter((move) => move.state === 'settling')
  if (settling.length === 0) return lines.join('\n')
  const last = settling
    .map(({ settlesAt }) => settlesAt!)
    .toSorted()
    .at(-1)!
  return `${lines.join('\n')}\nUntil ${time(last)} they settle, and each can be taken back: npm run banyan -- moves reverse ID`
}

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

const withHeld = (text: string, held: number): string =>
  held === 0
    ? text
    : `${text}\n${counted(held, 'slot')} more should move, and are in moves that haven’t ended: run it again then.`

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

const options: OptionName[] = ['dry-run', 'by', 'tolerance', 'keyspace', 'no-wait', 'until']

export const rebalanceCommands: Record<string, Command> = {
  rebalance: { operands: [], options, run: rebalance },
}

import type { Move, StartedMoves } from '../../console/shapes.ts'
import { followMoves } from '../moves/follow-moves.ts'
import { hasFailed, outcome, planText, time } from '../moves/move-text.ts'
import { reader } from '../moves/requests.ts'
import type { Connection } from '../shell/client.ts'
import type { Output } from '../shell/command.ts'
import { counted } from '../shell/table.ts'

interface Following {
  until: 'settling' | 'done'
  /** True with --no-wait. */
  isLeft: boolean
  /** The text if there was nothing to start. */
  nothing: string
}

/** Watches the moves that a rebalance or a drain started. */
export async function followed(
  connection: Connection,
  started: StartedMoves,
  { until, isLeft, nothing }: Following,
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
  if (first && moves.length === 1) return outcome(first)
  const lines = moves.map((move) => outcome(move).split('\n')[0])
  const last = moves
    .flatMap(({ state, settlesAt }) => (state === 'settling' && settlesAt !== null ? [settlesAt] : []))
    .toSorted()
    .at(-1)
  if (last === undefined) return lines.join('\n')
  return `${lines.join('\n')}\nThey settle until ${time(last)}. To reverse one until then: npm run banyan -- moves reverse ID`
}

export const withHeld = (text: string, held: number): string =>
  held === 0
    ? text
    : `${text}\n${counted(held, 'slot')} more should move, but are in open moves. Run the command again when these have ended.`

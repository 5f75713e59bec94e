import type { Move, MoveSides } from '../../console/shapes.ts'
import { present } from '../../core/present.ts'
import { counted } from '../shell/table.ts'

export const isOver = ({ state }: Pick<Move, 'state'>): boolean => ['done', 'aborted', 'failed'].includes(state)

/** A reverse that failed leaves the move settling again, with an error. */
export const hasFailed = ({ state, error }: Move): boolean =>
  state === 'failed' || state === 'aborted' || (state === 'settling' && error !== undefined)

export function stateOf({ state, ending, stuck }: Move): string {
  const now = ending ? `${state}, being undone` : state
  return stuck === undefined ? now : `${now}, stuck`
}

export const percent = ({ progress }: Move): string => `${Math.floor(progress * 100)}%`

export function rowsOf({ rowsCopied, rowsTotal, rowsVerified }: Move): string {
  // The total was counted before the copy. Rows written since are copied too.
  const copied = `${rowsCopied.toLocaleString('en')} of ${counted(Math.max(rowsTotal, rowsCopied), 'row')} copied`
  return rowsVerified === 0 ? copied : `${copied}, ${rowsVerified.toLocaleString('en')} verified`
}

/** The first range, and how many more there are: `0000-00ff +3`. */
export function shortened(slots: string): string {
  const [first = '', ...others] = slots.split(',')
  const [from, to] = first.split('-')
  const range = from === to && from !== undefined ? from : first
  return others.length === 0 ? range : `${range} +${others.length}`
}

const slotsOf = ({ slots, keyspace }: Move) => `slots ${shortened(slots)} of ${keyspace}`
export const planText = (move: Move) =>
  `Move ${move.id}: ${slotsOf(move)} from ${move.source} to ${move.target}. ${watch(move)}`
export const watch = ({ id }: Move) => `Watch it: npm run banyan -- moves show ${id} --follow`
export const time = (rfc3339: string) => rfc3339.replace('T', ' ').replace(/(\.\d+)?Z$/, ' UTC')

/** When the settling ends. */
export const settleTime = ({ settlesAt }: Move): string => time(present(settlesAt, 'an end of the settling'))

export function outcome(move: Move): string {
  const { id, source, target, state, rowsTotal, cutoverMs, error } = move
  const head = `Move ${id}, ${slotsOf(move)}:`
  if (state === 'aborted') return `${head} aborted. ${source} still has the slots.${error ? ` ${error}` : ''}`
  if (state === 'failed') return `${head} failed. ${source} still has the slots. ${error}`
  const held = cutoverMs === null ? '' : ` Writes waited for ${cutoverMs} ms.`
  const moved = `${head} ${target} has them, with ${counted(rowsTotal, 'row')}.${held}`
  if (state === 'purging') return `${moved} ${source} is deleting its rows.`
  if (state === 'done') return `${moved} ${source} has deleted its rows.`
  const stayed = error === undefined ? moved : `${head} could not be reversed: ${error}`
  return `${stayed}
  It settles until ${settleTime(move)}: ${source} keeps its rows for routers with the previous map.
  To reverse it until then: npm run banyan -- moves reverse ${id}`
}

export function details(move: Move): string {
  const lines: [string, string | null][] = [
    ['move', move.id],
    ['slots', `${move.slots} of ${move.keyspace}`],
    ['from', move.reversed ? `${move.source} (the move was reversed)` : move.source],
    ['to', move.target],
    ['state', move.state === 'settling' ? `settling until ${settleTime(move)}` : stateOf(move)],
    ['done', percent(move)],
    ['rows', rowsOf(move)],
    ['cutover', move.cutoverMs === null ? null : `${move.cutoverMs} ms`],
    ['planned', time(move.createdAt)],
    ['captured', captureText(move)],
    ['error', move.error ?? null],
    ['stuck', move.stuck === undefined ? null : `${move.stuck} Decide: npm run banyan -- moves resolve ${move.id}`],
    ['left', move.leftAlone ?? null],
    ['waits', move.interrupted === undefined ? null : `the latest turn ended early: ${move.interrupted}`],
  ]
  return lines
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name.padEnd(9)}${value}`)
    .join('\n')
}

/** How full the log for a reverse is, and what happens when it is full. */
function captureText({ captured, capturedMax, captureStopped }: Move): string | null {
  if (captureStopped) return 'the capture stopped because its log was full, so the move can no longer be reversed'
  if (captured === undefined || capturedMax === undefined) return null
  const max = capturedMax.toLocaleString('en')
  return `about ${captured.toLocaleString('en')} of ${max} changes; at ${max} the capture stops, and a reverse is refused`
}

const choiceTexts: Record<string, string> = {
  retry: 'retries at once; the slots are in regular states',
  undo: 'returns the slots to the source, like moves abort',
  activate: 'hands over the slots that both shards still hold as the commit left them; leaves the others unchanged',
  purge: "deletes the rows of the move's own slots at the source; leaves the other slots unchanged",
}

/** Describes both shards' slots, the reason, and the choices. */
export function sidesText({ move, sides, choices }: MoveSides): string {
  const slotsAt = ({ slots }: MoveSides['sides'][number]) =>
    slots.map(({ state, move: of, slots: count }) => `${count} ${state}${whose(of, move)}`).join(', ') || 'none known'
  const lines = sides.map(
    (side) =>
      `${side.shard.padEnd(11)}${slotsAt(side)}; ${side.isMore ? 'more than ' : ''}${counted(side.rows, 'row')}`,
  )
  const safe = choices.map((choice) => `  --choice ${choice.padEnd(10)}${choiceTexts[choice] ?? ''}`)
  const head = `Move ${move.id}, ${slotsOf(move)}: ${stateOf(move)}`
  const reason = move.stuck ?? move.interrupted
  return [
    head,
    ...lines,
    ...(reason === undefined ? [] : [`Reason: ${reason}`]),
    ...(safe.length === 0 ? ['No choice is safe now.'] : ['Safe now:', ...safe]),
  ].join('\n')
}

function whose(of: string | null, { id }: Move): string {
  if (of === id) return ''
  return of === null ? ' (of no move)' : ` (of move ${of})`
}

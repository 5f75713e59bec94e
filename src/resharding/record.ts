import { slotText } from '../core/ids.ts'
import { present } from '../core/present.ts'
import { SLOT_COUNT } from '../sharding/shard-map.ts'
import type { Keyspace } from '../sharding/sharded-table.ts'

/** What a move goes through, in this order; the last two are other ways to end. */
export const moveStates = [
  'planned',
  'preparing',
  'copying',
  'catching-up',
  'verifying',
  'cutover',
  'committed',
  'settling',
  'purging',
  'done',
  'aborted',
  'failed',
] as const
export type MoveState = (typeof moveStates)[number]

/** First and last slot, both included, as four hex digits. */
export type SlotRange = [string, string]

/** An attempt to cut over has a number, and so has the un-fence that ends it: whoever holds the one before can't commit it. */
export type AttemptKind = 'fence' | 'un-fence'

/** One of the two shards of a move. */
export interface MoveShard {
  id: string
  binding: string
}

/** A move, as the directory holds it. A reverse turns the same record round: `source` and `target` change places. */
export interface MoveRecord {
  id: string
  keyspace: Keyspace
  ranges: SlotRange[]
  slots: number
  source: MoveShard
  target: MoveShard
  state: MoveState
  /** Rises with each try to cut over, and never falls: the commit is a compare-and-set on it. */
  attempt: number
  /** What the latest attempt was recorded before. */
  attemptIsFor: AttemptKind
  /** How many attempts to fence came to nothing, in this direction. */
  attemptsGivenUp: number
  /** How often source and target have changed places, also back: above 0 both shards have the rows. It never falls. */
  reversals: number
  /** True while it goes, or has gone, back to where the slots came from. */
  reversed: boolean
  /** Set while the move is being undone: the state that it will end in. A reverse goes back to `settling` instead. */
  ending: 'aborted' | 'failed' | null
  /** True while the move holds the lanes of both its shards. */
  hasLanes: boolean
  /** The map's epoch since this move's latest commit. */
  epoch: number | null
  rowsTotal: number
  rowsCopied: number
  rowsVerified: number
  cutoverMs: number | null
  /** How many bytes it brings to its target, at most, by the size that its source had when it was planned; null: unknown. */
  bytesEstimated: number | null
  error: string | null
  createdAt: number
  /** When this attempt to cut over was recorded (ms). */
  attemptAt: number | null
  committedAt: number | null
  /** When the settling ends (ms). */
  settlesAt: number | null
  /** Why the latest turn ended early; null when it went well. */
  interrupted: string | null
  /** Why only a person can decide how the move continues. It has no lanes, and retries slowly. */
  stuck: string | null
  /** Set by an operator's choice: the move continues with its own slots, and leaves these as they are. */
  leftAlone: string | null
  /** How many changes the target of a settled move has captured for a reverse: an estimate. */
  captured: number
  /** The target captured too many changes and stopped, so the move can't be reversed. It is never unset. */
  captureStopped: boolean
}

/** When the latest attempt to cut over was recorded (ms). */
export const attemptTime = ({ attemptAt }: MoveRecord): number => present(attemptAt, 'an attempt to cut over')

/** When the move was committed (ms). */
export const commitTime = ({ committedAt }: MoveRecord): number => present(committedAt, 'a commit')

/** When the settling of a committed move ends (ms). */
export const settleTime = ({ settlesAt }: MoveRecord): number => present(settlesAt, 'an end of the settling')

/** What a compare-and-set of the record compares: all that another incarnation, or an operator, may have changed. */
export type SeenMove = Pick<MoveRecord, 'id' | 'state' | 'attempt' | 'reversals' | 'ending' | 'hasLanes'>

export type MoveProgress = Pick<MoveRecord, 'rowsTotal' | 'rowsCopied' | 'rowsVerified'>

/** What a mover tells the operators, beside its progress. Nothing depends on it. */
export type MoveNotes = Partial<Pick<MoveRecord, 'interrupted' | 'captured'>>

/** How a move that is stuck may continue (docs/resharding.md, "When only a person can decide"). */
export const moveChoices = ['retry', 'undo', 'activate', 'purge'] as const
export type MoveChoice = (typeof moveChoices)[number]

/** What the mover wants of the record next. */
export type MoveChange =
  | { to: 'preparing' | 'copying' | 'catching-up' | 'verifying' | 'settling' | 'purging' | 'done'; cutoverMs?: number }
  /** The next attempt: recorded before the source is fenced, and before it is un-fenced. */
  | { to: 'cutover'; isFor?: AttemptKind }
  /** The point of no return: map, epoch and record in one transaction. */
  | { to: 'committed'; bookmark: string | null }
  | { to: 'failed'; error: string }
  /** What was to be undone is undone. `leftAlone` names slots that are not the move's, and stay as they are. */
  | { to: 'ended'; leftAlone?: string | null }
  /** The lanes between two turns of a purge. */
  | { lanes: 'take' | 'leave' }
  /** Only a person can decide: the lanes are left. */
  | { stuck: string }
  /** What a person decided. `leftAlone` names the slots that the move doesn't touch from now on. */
  | { choice: 'activate' | 'purge'; leftAlone: string }
  /** Recorded before the target of a settled move stops to capture changes. */
  | { capture: 'stop' }

/**
 * `waits`: not now. Ask again at `retryAt` (ms); with null, do not ask: the directory wakes the move when its lanes are
 * free. `changed`: the record isn't what the caller saw.
 */
export type MoveAnswer =
  | { outcome: 'changed' }
  | { outcome: 'recorded'; record: MoveRecord; retryAt: number }
  | { outcome: 'waits'; record: MoveRecord; retryAt: number | null }

/** The directory's records of moves, as a mover sees it. Each call is one transaction there. */
export interface RemoteMoveRecords {
  find(id: string): Promise<MoveRecord | null>
  change(seen: SeenMove, change: MoveChange, progress: MoveProgress | null): Promise<MoveAnswer>
  /** Writes what operators see. `progress` null leaves it as it is. */
  report(id: string, progress: MoveProgress | null, notes?: MoveNotes): Promise<void>
}

/** What a record from before December 2026 doesn't have, nor one from a directory of the version before. */
const noNotes = { interrupted: null, stuck: null, leftAlone: null, captured: 0, captureStopped: false }

export const withNotes = (record: MoveRecord): MoveRecord => ({ ...noNotes, ...record })

/** True when nothing is left to do, ever. */
export const isOver = ({ state }: Pick<MoveRecord, 'state'>): boolean =>
  state === 'done' || state === 'aborted' || state === 'failed'

/** True where the next attempt that is recorded ends one that came to nothing. */
export const endsAttempt = ({ state, attemptIsFor }: Pick<MoveRecord, 'state' | 'attemptIsFor'>): boolean =>
  state === 'cutover' && attemptIsFor === 'fence'

/** States in which an operator may still abort: the map hasn't changed. */
export const isBeforeCommit = ({ state }: Pick<MoveRecord, 'state'>): boolean =>
  moveStates.indexOf(state) < moveStates.indexOf('committed')

/** True while the target captures changes for a reverse, and no mover has the lanes. */
export const isSettled = ({ state, hasLanes, ending }: Pick<MoveRecord, 'state' | 'hasLanes' | 'ending'>): boolean =>
  ending === null && (state === 'settling' || (state === 'purging' && !hasLanes))

/** How far a move is, from 0 to 1: copying is half of the way, verifying most of the rest. */
export function fractionDone({ state, rowsTotal, rowsCopied, rowsVerified }: MoveRecord): number {
  if (isOver({ state })) return 1
  const of = (rows: number) => (rowsTotal === 0 ? 1 : Math.min(1, rows / rowsTotal))
  switch (state) {
    case 'planned':
    case 'preparing':
      return 0
    case 'copying':
      return 0.5 * of(rowsCopied)
    case 'catching-up':
      return 0.5
    case 'verifying':
      return 0.5 + 0.4 * of(rowsVerified)
    case 'cutover':
      return 0.9
    default:
      return 0.95
  }
}

const SLOT_RANGE = /^([0-9a-f]{4})(?:-([0-9a-f]{4}))?$/

/** Reads `0000-0fff`, `00ff`, or several of these with commas between; null where the text isn't that. */
export function parseRanges(text: string): SlotRange[] | null {
  const ranges: SlotRange[] = []
  for (const part of text.split(',')) {
    const [, first, last = first] = SLOT_RANGE.exec(part) ?? []
    if (first === undefined || last === undefined || last < first) return null
    ranges.push([first, last])
  }
  ranges.sort(([a], [b]) => (a < b ? -1 : 1))
  const areApart = ranges.every(([first], index) => {
    const before = ranges[index - 1]
    return !before || first > before[1]
  })
  return areApart ? ranges : null
}

export const formatRanges = (ranges: SlotRange[]): string => ranges.map(([first, last]) => `${first}-${last}`).join(',')

export const slotNumber = (slot: string): number => Number.parseInt(slot, 16)

/** The ranges that these slots are; they come in order, each once. */
export function rangesOf(slots: string[]): SlotRange[] {
  const ranges: SlotRange[] = []
  for (const slot of slots) {
    const last = ranges.at(-1)
    if (last && slotNumber(last[1]) + 1 === slotNumber(slot)) last[1] = slot
    else ranges.push([slot, slot])
  }
  return ranges
}

export const countSlots = (ranges: SlotRange[]): number =>
  ranges.reduce((sum, [first, last]) => sum + slotNumber(last) - slotNumber(first) + 1, 0)

/** The text that sorts right after every key of a slot: the next slot, or what follows `ffff`. */
export const slotAfter = (slot: string): string =>
  slotNumber(slot) + 1 === SLOT_COUNT ? 'g' : slotText(slotNumber(slot) + 1)

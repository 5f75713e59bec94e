import { slotText } from '../core/ids.ts'
import { present } from '../core/present.ts'
import { SLOT_COUNT } from '../sharding/shard-map.ts'
import type { Keyspace } from '../sharding/sharded-table.ts'

/** The states of a move, in order. The last two are the other ways to end. */
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

/**
 * Attempts to cut over are numbered, and so are the un-fences that end them. The holder of an earlier number cannot
 * commit.
 */
export type AttemptKind = 'fence' | 'un-fence'

/** One of the two shards of a move. */
export interface MoveShard {
  id: string
  binding: string
}

/** A move, as the directory stores it. A reverse uses the same record and swaps `source` and `target`. */
export interface MoveRecord {
  id: string
  keyspace: Keyspace
  ranges: SlotRange[]
  slots: number
  source: MoveShard
  target: MoveShard
  state: MoveState
  /** Rises with each attempt to cut over, and never falls. The commit is a compare-and-set on it. */
  attempt: number
  /** What the latest attempt is for. */
  attemptIsFor: AttemptKind
  /** How many attempts to fence were given up in this direction. */
  attemptsGivenUp: number
  /** How often source and target were swapped, including back. Above 0, both shards have the rows. Never falls. */
  reversals: number
  /** True while the move returns, or after it has returned, the slots to their original shard. */
  reversed: boolean
  /** Set while the move is being undone: the state that it will end in. A reverse returns to `settling` instead. */
  ending: 'aborted' | 'failed' | null
  /** True while the move holds the lanes of both its shards. */
  hasLanes: boolean
  /** The map's epoch at this move's latest commit. */
  epoch: number | null
  rowsTotal: number
  rowsCopied: number
  rowsVerified: number
  cutoverMs: number | null
  /** The most bytes that the move brings to its target, by the source's size when planned. Null if unknown. */
  bytesEstimated: number | null
  error: string | null
  createdAt: number
  /** When this attempt to cut over was recorded (ms). */
  attemptAt: number | null
  committedAt: number | null
  /** When the settling ends (ms). */
  settlesAt: number | null
  /** Why the latest turn ended early. Null if it succeeded. */
  interrupted: string | null
  /** Why an operator must decide how the move continues. A stuck move holds no lanes and retries slowly. */
  stuck: string | null
  /** Set by an operator's choice. The move continues with its own slots and does not change the slots named here. */
  leftAlone: string | null
  /** Estimated number of changes that the target of a settled move has captured for a reverse. */
  captured: number
  /** The target captured too many changes and stopped, so the move can't be reversed. Never unset. */
  captureStopped: boolean
}

/** When the latest attempt to cut over was recorded (ms). */
export const attemptTime = ({ attemptAt }: MoveRecord): number => present(attemptAt, 'an attempt to cut over')

/** When the move was committed (ms). */
export const commitTime = ({ committedAt }: MoveRecord): number => present(committedAt, 'a commit')

/** When the settling of a committed move ends (ms). */
export const settleTime = ({ settlesAt }: MoveRecord): number => present(settlesAt, 'an end of the settling')

/**
 * The fields that a compare-and-set of the record compares: all that another incarnation or an operator may have
 * changed.
 */
export type SeenMove = Pick<MoveRecord, 'id' | 'state' | 'attempt' | 'reversals' | 'ending' | 'hasLanes'>

export type MoveProgress = Pick<MoveRecord, 'rowsTotal' | 'rowsCopied' | 'rowsVerified'>

/** What a mover tells operators besides its progress. Nothing depends on it. */
export type MoveNotes = Partial<Pick<MoveRecord, 'interrupted' | 'captured'>>

/** How a stuck move may continue (docs/resharding.md, "When only a person can decide"). */
export const moveChoices = ['retry', 'undo', 'activate', 'purge'] as const
export type MoveChoice = (typeof moveChoices)[number]

/** A mover's change of the record. */
export type MoveChange =
  | { to: 'preparing' | 'copying' | 'catching-up' | 'verifying' | 'settling' | 'purging' | 'done'; cutoverMs?: number }
  /** The next attempt, recorded before the source is fenced and before it is un-fenced. */
  | { to: 'cutover'; isFor?: AttemptKind }
  /** The point of no return: map, epoch and record in one transaction. */
  | { to: 'committed'; bookmark: string | null }
  | { to: 'failed'; error: string }
  /** The undo is finished. `leftAlone` names slots that are not the move's and did not change. */
  | { to: 'ended'; leftAlone?: string | null }
  /** Takes or leaves the lanes between two turns of a purge. */
  | { lanes: 'take' | 'leave' }
  /** An operator must decide. The move gives up its lanes. */
  | { stuck: string }
  /** An operator's decision. `leftAlone` names the slots that the move no longer touches. */
  | { choice: 'activate' | 'purge'; leftAlone: string }
  /** Recorded before the target of a settled move stops capturing changes. */
  | { capture: 'stop' }

/**
 * `waits`: not now. Ask again at `retryAt` (ms). If it is null, do not ask, because the directory wakes the move when
 * its lanes are free. `changed`: the record is not what the caller saw.
 */
export type MoveAnswer =
  | { outcome: 'changed' }
  | { outcome: 'recorded'; record: MoveRecord; retryAt: number }
  | { outcome: 'waits'; record: MoveRecord; retryAt: number | null }

/** The directory's records of moves, as a mover sees them. Each call is one transaction there. */
export interface RemoteMoveRecords {
  find(id: string): Promise<MoveRecord | null>
  change(seen: SeenMove, change: MoveChange, progress: MoveProgress | null): Promise<MoveAnswer>
  /** Writes what operators see. A null `progress` does not change the progress. */
  report(id: string, progress: MoveProgress | null, notes?: MoveNotes): Promise<void>
}

/** Defaults for records from before December 2026 or from a directory of the previous version. */
const noNotes = { interrupted: null, stuck: null, leftAlone: null, captured: 0, captureStopped: false }

export const withNotes = (record: MoveRecord): MoveRecord => ({ ...noNotes, ...record })

/** True if nothing is left to do. */
export const isOver = ({ state }: Pick<MoveRecord, 'state'>): boolean =>
  state === 'done' || state === 'aborted' || state === 'failed'

/** True if recording the next attempt gives up the current one. */
export const endsAttempt = ({ state, attemptIsFor }: Pick<MoveRecord, 'state' | 'attemptIsFor'>): boolean =>
  state === 'cutover' && attemptIsFor === 'fence'

/** States in which an operator may still abort, because the map has not changed. */
export const isBeforeCommit = ({ state }: Pick<MoveRecord, 'state'>): boolean =>
  moveStates.indexOf(state) < moveStates.indexOf('committed')

/** True while the target captures changes for a reverse, and no mover has the lanes. */
export const isSettled = ({ state, hasLanes, ending }: Pick<MoveRecord, 'state' | 'hasLanes' | 'ending'>): boolean =>
  ending === null && (state === 'settling' || (state === 'purging' && !hasLanes))

/** A move's progress from 0 to 1. Copying counts for half, verifying for most of the rest. */
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

/** Parses `0000-0fff`, `00ff`, or several of these separated by commas. Null for any other text. */
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

/** The ranges that these slots form. The slots must be in order, without duplicates. */
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

/** The text that sorts directly after every key of a slot: the next slot, or the text after `ffff`. */
export const slotAfter = (slot: string): string =>
  slotNumber(slot) + 1 === SLOT_COUNT ? 'g' : slotText(slotNumber(slot) + 1)

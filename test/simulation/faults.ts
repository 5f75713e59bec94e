import type { Scheduler } from './scheduler.ts'

/** The faults of a single call. */
const callFaults = ['failed before', 'answer lost', 'held back', 'slow', 'crash', 'freeze'] as const
/** The faults around a move, at any of its steps. */
const worldFaults = [
  'twin',
  'abort',
  'directory evicted',
  'directory unavailable',
  'shard unavailable',
  'shard restarted',
  'isolate frozen',
  'isolate replaced',
  'clock step',
  'disk full',
  'cache fault',
  'wake-up lost',
  'slot meddled',
  'primary lost',
] as const
export type CallFault = (typeof callFaults)[number]
export type Fault = CallFault | (typeof worldFaults)[number]
export const faults: readonly Fault[] = [...callFaults, ...worldFaults]

/** The steps of a move, named like its batches and its calls of the directory. */
export const moverSteps = [
  'find',
  'to preparing',
  'raise',
  'read',
  'waiting',
  'look',
  'to capture-stopped',
  'stop',
  'prepare',
  'clear',
  'to copying',
  'capture',
  'total',
  'copy',
  'to catching-up',
  'catch-up',
  'to verifying',
  'verify',
  'keep',
  'count',
  'to cutover',
  'fence',
  'drain',
  'un-fence',
  'to committed',
  'activate',
  'retire',
  'to settling',
  'to purging',
  'lanes',
  'purge',
  'forget',
  'finish',
  'to done',
  'restore',
  'drop',
  'part',
  'to ended',
  'to stuck',
  'sides',
] as const
export type MoverStep = (typeof moverSteps)[number]

/** Steps at which an operator cannot abort, because the map has changed or the move is already being undone. */
const beyondAbort: readonly MoverStep[] = [
  ...([
    'look',
    'to capture-stopped',
    'stop',
    'activate',
    'retire',
    'to settling',
    'to purging',
    'lanes',
    'purge',
    'forget',
    'finish',
    'to done',
  ] as const),
  ...(['restore', 'drop', 'part', 'to ended', 'to stuck', 'sides'] as const),
]

/** True if this fault can occur at this step. */
export const isPossible = (step: MoverStep, fault: Fault): boolean => fault !== 'abort' || !beyondAbort.includes(step)

/** How often each fault occurred at each step: `table[step][fault]`. */
export type FaultTable = Record<string, Record<string, number>>

/** Draws faults and counts them. After `calm()`, there are no more faults. */
export class Faults {
  readonly table: FaultTable = {}
  readonly #scheduler: Scheduler
  #isCalm = false

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler
  }

  get isCalm(): boolean {
    return this.#isCalm
  }

  calm(): void {
    this.#isCalm = true
  }

  count(step: string, fault: Fault): void {
    this.table[step] ??= {}
    const row = this.table[step]
    row[fault] = (row[fault] ?? 0) + 1
  }

  /** The fault of an isolate's call. Rarely any. */
  ofCall(): CallFault | null {
    return this.#draw([0.008, 0.008, 0.006, 0.02, 0, 0])
  }

  /** The fault of a mover's batch or of its call of the directory. */
  ofMover(): CallFault | null {
    return this.#draw([0.006, 0.009, 0.009, 0.02, 0.01, 0.004])
  }

  #draw(rates: number[]): CallFault | null {
    let point = this.#scheduler.random.fraction()
    if (this.#isCalm) return null
    for (const [index, rate] of rates.entries()) {
      if (point < rate) return callFaults[index]!
      point -= rate
    }
    return null
  }
}

export function addTables(into: FaultTable, table: FaultTable): void {
  for (const [step, row] of Object.entries(table)) {
    into[step] ??= {}
    const sums = into[step]
    for (const [fault, count] of Object.entries(row)) sums[fault] = (sums[fault] ?? 0) + count
  }
}

/**
 * The move protocol of docs/resharding.md as an explicit-state model: two databases, a directory, two incarnations of
 * the mover whose batches may arrive at any later time, writers whose maps may be of any age and whose answers may be
 * lost, readers, aborts, a reverse, a second move back, and a capture that stops while the move settles. One slot with
 * one row.
 *
 * A state is a flat array of small integers. `successors` lists the possible next states. The checker (explore.ts)
 * visits every reachable state. Safeguards can be removed by name, and each removal must lead to a violation.
 */

export const safeguards = [
  'step check on data',
  'step check on purge',
  'step check on un-fence',
  'step check on activate',
  'step row stays',
  'un-fence known to the directory',
  'commit after the fence',
  'activate after the commit',
  'final drain',
  'idempotency keys travel',
  'guard',
  'raised steps are still the incarnation’s own',
  'exact reads refused by a fenced source',
  'abort of a reverse keeps the rows',
  'lease read checked on arrival',
  'purge waits for the leases',
  'reverse keeps the same record',
  'capture stops after it is recorded',
  'reverse refused once the capture stopped',
  'stop of the capture names its move',
] as const

export type Safeguard = (typeof safeguards)[number]

// ── what a slot can be at a database, and a move in the directory ─────────────────────────────────

const NONE = 0
const ACTIVE = 1
const MOVING = 2
const FENCED = 3
const IMPORTING = 4
const MOVED = 5

const PLANNED = 0
const PREPARING = 1
const COPYING = 2
const CATCHING_UP = 3
const CUTOVER = 4
const COMMITTED = 5
const SETTLING = 6
const PURGING = 7
const DONE = 8
const ABORTING = 9

const slotNames = ['no row', 'active', 'moving', 'fenced', 'importing', 'moved']
const moveNames = [
  'planned',
  'preparing',
  'copying',
  'catching-up',
  'cutover',
  'committed',
  'settling',
  'purging',
  'done',
  'aborting',
]

interface Database {
  slot: number
  /** The number of the move whose changes are captured here while the slot is moving; otherwise 0. */
  of: number
  step: number
  /** Whether the row is here, the writes it holds, and the idempotency keys it came with: one bit per writer. */
  has: boolean
  mask: number
  keys: number
}

interface Batch {
  kind: string
  at: number // the database's index
  expected: number // the expected step
  /** The number of its move if the batch starts a capture; otherwise 0. */
  of: number
  mask: number
  keys: number
}

/** The batch that stops the capture of a settled move. It carries no step, because its sender has no lanes. */
interface Stop {
  at: number
  of: number
}

interface Mover {
  /** 0: idle. 1: raised one step. 2: raised both. 3: knows its place. */
  mode: number
  /** It uses only the source, because the target does not answer. */
  isAlone: boolean
  steps: [number, number]
  /** The record when the mover derived its place, and how far the mover is in that state. */
  sees: number
  reverse: boolean
  attempt: number
  place: number
  mask: number
  keys: number
  sent: Batch | null
}

export interface State {
  databases: [Database, Database]
  owner: number
  move: {
    state: number
    attempt: number
    reverse: boolean
    source: number
    count: number
    stray: boolean
    captureStopped: boolean
  }
  movers: [Mover, Mover]
  late: Batch | null
  stop: Stop | null
  acked: number
  tries: [number, number]
  /** Whether a lease that names this database may still be valid, and what was acknowledged when it lost the slot. */
  leases: [boolean, boolean]
  left: [number, number]
  raises: number
  aborts: number
  reverses: number
  stops: number
}

export interface Bounds {
  moves: number
  /** Starts of a mover, if steps may fall. */
  raises: number
  aborts: number
  reverses: number
  /** How often the capture was stopped while a move settles. */
  stops: number
  attempts: number
  tries: number
  movers: 1 | 2
  writers: 1 | 2
}

const idleMover = (): Mover => ({
  mode: 0,
  isAlone: false,
  steps: [0, 0],
  sees: 0,
  reverse: false,
  attempt: 0,
  place: 0,
  mask: 0,
  keys: 0,
  sent: null,
})

export const firstState = (): State => ({
  databases: [
    { slot: ACTIVE, of: 0, step: 0, has: true, mask: 0, keys: 0 },
    { slot: NONE, of: 0, step: 0, has: false, mask: 0, keys: 0 },
  ],
  owner: 0,
  move: { state: PLANNED, attempt: 0, reverse: false, source: 0, count: 1, stray: false, captureStopped: false },
  movers: [idleMover(), idleMover()],
  late: null,
  stop: null,
  acked: 0,
  tries: [0, 0],
  leases: [true, false],
  left: [0, 0],
  raises: 0,
  aborts: 0,
  reverses: 0,
  stops: 0,
})

const copyBatch = (batch: Batch | null): Batch | null => (batch ? { ...batch } : null)

function copyState(state: State): State {
  const [a, b] = state.databases
  const [one, two] = state.movers
  const mover = (from: Mover): Mover => ({ ...from, steps: [from.steps[0], from.steps[1]], sent: copyBatch(from.sent) })
  return {
    ...state,
    databases: [{ ...a }, { ...b }],
    move: { ...state.move },
    movers: [mover(one), mover(two)],
    late: copyBatch(state.late),
    stop: state.stop ? { ...state.stop } : null,
    tries: [...state.tries],
    leases: [...state.leases],
    left: [...state.left],
  }
}

const kinds: string[] = []
const kindNumber = (kind: string): number => {
  const known = kinds.indexOf(kind)
  return known >= 0 ? known : kinds.push(kind) - 1
}

/**
 * A state as a short text, equal for states that behave alike. Steps only rise, so only whether a number is still the
 * database's step matters. That keeps the states finite, however often movers restart. If the step's row is recreated
 * (`absolute`), the numbers themselves matter, and starts are bounded. The order of the movers makes no difference, so
 * their texts are sorted, which halves the states.
 */
export function keyOf(state: State, absolute: boolean): string {
  const step = (at: number, number: number) => (absolute ? number : Number(number === state.databases[at]!.step))
  const batch = (one: Batch | null) =>
    one ? [1, kindNumber(one.kind), one.at, step(one.at, one.expected), one.of, one.mask, one.keys] : [0]
  const { move, stop } = state
  const parts = [state.owner, state.acked, state.aborts, state.reverses, state.stops, ...state.tries, ...state.left]
  parts.push(move.state, move.attempt, Number(move.reverse), move.source, move.count, Number(move.stray))
  parts.push(Number(move.captureStopped), ...(stop ? [1, stop.at, stop.of] : [0]))
  parts.push(Number(state.leases[0]), Number(state.leases[1]), ...batch(state.late))
  for (const { slot, of, has, mask, keys } of state.databases) parts.push(slot, of, Number(has), mask, keys)
  if (absolute) parts.push(state.raises, state.databases[0].step, state.databases[1].step)
  const mover = ({ mode, isAlone, steps, sees, reverse, attempt, place, mask, keys, sent }: Mover) =>
    String.fromCharCode(
      mode + (isAlone ? ALONE : 0),
      mode > 0 ? step(0, steps[0]) : 0,
      mode > 1 ? step(1, steps[1]) : 0,
      ...[sees, Number(reverse), attempt, place, mask, keys],
      ...batch(sent),
    )
  const [one, two] = state.movers.map(mover)
  return String.fromCharCode(...parts) + (one! < two! ? one! + two! : two! + one!)
}

export interface Step {
  label: string
  state: State
}

/** Everything that may happen next. `out` are the removed safeguards. */
export function successors(state: State, bounds: Bounds, out: ReadonlySet<Safeguard>): Step[] {
  const steps: Step[] = []
  const may: May = (label, change) => {
    const next = copyState(state)
    if (change(next) !== false) steps.push({ label, state: next })
  }
  writersAct(state, bounds, out, may)
  leasesRunOut(state, may)
  operatorsAct(state, bounds, out, may)
  captureStops(state, bounds, out, may)
  for (let index = 0; index < bounds.movers; index++) moverActs(state, index, bounds, out, may)
  if (state.late) may(`late ${state.late.kind} at ${name(state.late.at)}`, (next) => void lateArrives(next, out))
  return steps
}

type May = (label: string, change: (next: State) => unknown) => void

const name = (database: number) => 'AB'[database]!

// ── clients ───────────────────────────────────────────────────────────────────────────────────────

/**
 * A writer sends its batch to either database, because its map may be of any age. Its answer may be lost, and then it
 * retries. Writers are alike, so the first to write may always be the first one.
 */
function writersAct(state: State, bounds: Bounds, out: ReadonlySet<Safeguard>, may: May): void {
  for (let writer = 0; writer < bounds.writers; writer++) {
    const bit = 1 << writer
    if (writer > 0 && state.tries[writer - 1] === 0) continue
    if (state.acked & bit || state.tries[writer]! >= bounds.tries) continue
    for (const at of [0, 1]) {
      const { slot, has } = state.databases[at]!
      const isWritable = slot === ACTIVE || slot === MOVING
      // Without the guard, only the row triggers refuse, and they do not fire if the statement matches no row.
      const isAccepted = isWritable || (out.has('guard') && !has)
      if (!isAccepted) continue
      for (const answered of [true, false])
        may(`writer ${writer} at ${name(at)}${answered ? '' : ', answer lost'}`, (next) => {
          next.tries[writer]!++
          apply(next.databases[at]!, bit)
          if (answered) next.acked |= bit
        })
    }
  }
}

const DOUBLED = 1 << 4

/** The write and its idempotency key in one batch. The second time, the key exists and nothing is written. */
function apply(database: Database, bit: number): void {
  if (!database.has || database.keys & bit) return
  if (database.mask & bit) database.mask |= DOUBLED
  database.mask |= bit
  database.keys |= bit
}

function leasesRunOut(state: State, may: May): void {
  for (const at of [0, 1])
    if (state.leases[at] && state.owner !== at)
      may(`leases naming ${name(at)} expire`, (next) => next.leases.splice(at, 1, false))
}

function operatorsAct(state: State, bounds: Bounds, out: ReadonlySet<Safeguard>, may: May): void {
  const { move } = state
  if (move.state === DONE && move.count < bounds.moves)
    may('a second move is planned', (next) => {
      next.move = {
        ...next.move,
        ...{ state: PLANNED, reverse: false, source: next.owner, count: move.count + 1, captureStopped: false },
      }
      if (!out.has('step row stays')) return
      for (const database of next.databases) database.step = 0
    })
  if (move.state >= PREPARING && move.state <= CUTOVER && state.aborts < bounds.aborts)
    may('abort', (next) => {
      next.aborts++
      next.move.state = ABORTING
    })
  const isRefused = move.captureStopped && !out.has('reverse refused once the capture stopped')
  if (move.state === SETTLING && !move.reverse && !isRefused && state.reverses < bounds.reverses)
    may('reverse', (next) => {
      next.reverses++
      next.move = { ...next.move, state: PREPARING, reverse: true, source: 1 - move.source }
      if (!out.has('reverse keeps the same record')) return
      next.move.stray = true
    })
  // The first record's timer, which a second record would leave alive. It purges its source.
  if (move.stray)
    may('the first record’s timer purges', (next) => {
      const purged = next.databases[move.reverse ? 1 - move.source : move.source]!
      if (purged.slot === FENCED) return false
      purged.has = false
      next.move.stray = false
      return true
    })
}

/**
 * The log of a settled move's target is full. The directory records that the capture stops, and only then does the
 * batch that stops it leave. The batch may be lost, or arrive in any later state, including that of a later move.
 */
function captureStops(state: State, bounds: Bounds, out: ReadonlySet<Safeguard>, may: May): void {
  const { move, stop } = state
  const isSettled = move.state === SETTLING || move.state === PURGING
  if (isSettled && !move.captureStopped && state.stops < bounds.stops)
    may('the stop of the capture is recorded', (next) => {
      next.stops++
      next.move.captureStopped = true
    })
  const isAllowed = move.captureStopped || (out.has('capture stops after it is recorded') && state.stops < bounds.stops)
  if (isSettled && isAllowed && !stop)
    may('the stop of the capture is sent', (next) => {
      next.stop = { at: 1 - move.source, of: move.count }
    })
  if (stop)
    may(`the stop of the capture arrives at ${name(stop.at)}`, (next) => {
      const database = next.databases[stop.at]!
      next.stop = null
      const isOwn = database.of === stop.of || out.has('stop of the capture names its move')
      if (database.slot === MOVING && isOwn) Object.assign(database, { slot: ACTIVE, of: 0 })
    })
}

// ── the mover ─────────────────────────────────────────────────────────────────────────────────────

function moverActs(state: State, index: number, bounds: Bounds, out: ReadonlySet<Safeguard>, may: May): void {
  const mover = state.movers[index]!
  const who = `mover ${index + 1}`
  if (mover.mode < 2) {
    const isBounded = out.has('step row stays') && state.raises >= bounds.raises * 2
    if (isBounded || (mover.mode === 0 && state.move.state === DONE)) return
    may(`${who} raises ${name(mover.mode)}`, (next) => {
      next.raises++
      const own = next.movers[index]!
      own.steps[mover.mode] = ++next.databases[mover.mode]!.step
      own.mode++
    })
    if (mover.mode === 0)
      may(`${who} raises the source only`, (next) => {
        next.raises++
        const { source } = next.move
        const own = next.movers[index]!
        own.steps[1 - source] = NO_STEP
        own.steps[source] = ++next.databases[source]!.step
        Object.assign(own, { mode: 2, isAlone: true })
      })
    return
  }
  if (mover.mode === 2) {
    may(`${who} derives its place`, (next) => void derive(next, index, out))
    return
  }
  if (mover.sent) {
    may(`${who}: ${mover.sent.kind} at ${name(mover.sent.at)}`, (next) => void arrives(next, index, out))
    may(`${who} crashes, ${mover.sent.kind} is lost`, (next) => next.movers.splice(index, 1, idleMover()))
    if (!state.late)
      may(`${who} crashes, ${mover.sent.kind} is held back`, (next) => {
        next.late = next.movers[index]!.sent
        next.movers[index] = idleMover()
      })
    return
  }
  proceed(state, index, bounds, out, may)
}

/**
 * Reads the directory and both databases with their steps. A different step than the raised one belongs to another
 * incarnation.
 */
function derive(state: State, index: number, out: ReadonlySet<Safeguard>): void {
  const mover = state.movers[index]!
  const isMeant = (at: number) => !mover.isAlone || at === state.move.source
  const isOwn = state.databases.every(({ step }, at) => !isMeant(at) || step === mover.steps[at])
  if (!isOwn && !out.has('raised steps are still the incarnation’s own')) {
    state.movers[index] = idleMover()
    return
  }
  see(state, mover)
  const source = state.databases[state.move.source]!
  if (mover.isAlone) {
    if (mover.sees === CUTOVER && source.slot === FENCED) mover.place = GIVING_UP
    else if (mover.sees !== ABORTING) state.movers[index] = idleMover()
    return
  }
  // If the source is already fenced, the cutover continues with its attempt: the tail is read, and applied next.
  if (mover.sees === CUTOVER && source.slot === FENCED)
    Object.assign(mover, { place: 1, mask: source.mask, keys: source.keys })
}

/** The position of the record. Each state's work is repeatable, so it starts at the state's first batch. */
function see(state: State, mover: Mover, place = 0): void {
  const { move } = state
  Object.assign(mover, {
    mode: 3,
    sees: move.state,
    reverse: move.reverse,
    attempt: move.attempt,
    place,
    mask: 0,
    keys: 0,
  })
}

type Instruction = { send: string; to: 'source' | 'target' } | { record: number }

const send = (kind: string, to: 'source' | 'target'): Instruction => ({ send: kind, to })
const record = (state: number): Instruction => ({ record: state })

/** The table of steps: what the mover does in each state of the record, from top to bottom. The cutover is separate. */
const program: Record<number, Instruction[]> = {
  [PLANNED]: [record(PREPARING)],
  [PREPARING]: [send('prepare', 'target'), record(COPYING)],
  [COPYING]: [send('capture', 'source'), send('read', 'source'), send('import', 'target'), record(CATCHING_UP)],
  [CATCHING_UP]: [send('read', 'source'), send('import', 'target'), record(CUTOVER)],
  [COMMITTED]: [send('activate', 'target'), send('retire', 'source'), record(SETTLING)],
  [SETTLING]: [record(PURGING)],
  [PURGING]: [send('purge', 'source'), send('forget', 'source'), send('finish', 'target'), record(DONE)],
  [ABORTING]: [send('restore', 'source'), send('drop', 'target'), record(DONE)],
}

/** A reverse keeps the rows, so there is nothing to copy. Its abort returns to settling. */
const reverseProgram: Record<number, Instruction[]> = {
  ...program,
  [PREPARING]: [send('prepare-reverse', 'target'), record(CATCHING_UP)],
  [ABORTING]: [send('restore-reverse', 'source'), send('drop-reverse', 'target'), record(SETTLING)],
}

function proceed(state: State, index: number, bounds: Bounds, out: ReadonlySet<Safeguard>, may: May): void {
  const mover = state.movers[index]!
  const desk: Desk = { state, mover, index, source: sourceSeen(state, mover), may }
  if (mover.isAlone) release(desk, bounds, out)
  else if (mover.sees === CUTOVER) cutOver(desk, bounds, out)
  else if (mover.sees === DONE) setRecord(desk, '', true, () => {})
  else carryOut(desk, (mover.reverse ? reverseProgram : program)[mover.sees]![mover.place]!, out)
}

/** The source of the record as the mover saw it. A reverse swaps it with the target. */
const sourceSeen = ({ move }: State, { reverse }: Mover): number =>
  reverse === move.reverse ? move.source : 1 - move.source

interface Desk {
  state: State
  mover: Mover
  index: number
  source: number
  may: May
}

function carryOut(desk: Desk, instruction: Instruction, out: ReadonlySet<Safeguard>): void {
  const { state, mover, source } = desk
  if ('send' in instruction) {
    sendBatch(desk, instruction.send, instruction.to === 'source' ? source : 1 - source)
    return
  }
  const to = instruction.record
  const waits =
    (mover.sees === PLANNED && state.leases[1 - source]) ||
    (mover.sees === SETTLING && state.leases[source] && !out.has('purge waits for the leases'))
  setRecord(desk, moveNames[to]!, Boolean(waits), (next) => {
    next.move.state = to
    if (to === CUTOVER) next.move.attempt++
    if (mover.sees === ABORTING && mover.reverse) next.move = { ...next.move, reverse: false, source: 1 - source }
  })
}

function sendBatch({ mover, index, may }: Desk, kind: string, at: number): void {
  may(`mover ${index + 1} sends ${kind} to ${name(at)}`, (next) => {
    const { steps, mask, keys } = mover
    const of = kind === 'capture' || kind === 'activate' ? next.move.count : 0
    next.movers[index]!.sent = { kind, at, expected: steps[at]!, of, mask, keys }
  })
}

/** A compare-and-set of the record's state, attempt and direction. */
function setRecord(
  { state, mover, index, may }: Desk,
  label: string,
  waits: boolean,
  change: (next: State) => unknown,
  place = 0,
): void {
  const { move } = state
  const isSame = move.state === mover.sees && move.attempt === mover.attempt && move.reverse === mover.reverse
  if (!isSame) may(`mover ${index + 1}: the record has changed`, (next) => next.movers.splice(index, 1, idleMover()))
  else if (!waits)
    may(`mover ${index + 1} records ${label}`, (next) => {
      change(next)
      see(next, next.movers[index]!, place)
    })
}

/**
 * Fences with the tail, applies it and commits; or gives the attempt up, first in the directory, then at the source.
 */
function cutOver(desk: Desk, bounds: Bounds, out: ReadonlySet<Safeguard>): void {
  const { state, mover, source } = desk
  const target = 1 - source
  const commit = () =>
    setRecord(desk, 'committed', false, (next) => {
      next.move.state = COMMITTED
      next.left[source] = state.acked
      next.owner = target
      next.leases[target] = true
    })
  switch (mover.place) {
    case 0:
      if (out.has('commit after the fence')) commit()
      sendBatch(desk, 'fence', source)
      break
    case 1:
      if (out.has('final drain')) commit()
      sendBatch(desk, 'import', target)
      break
    case 2:
      if (out.has('activate after the commit')) sendBatch(desk, 'activate', target)
      commit()
      break
    case GIVEN_UP:
      sendBatch(desk, 'un-fence', source)
      return
    default:
      commit()
  }
  if (mover.place !== 0) giveUp(desk, bounds, out)
}

/**
 * Only the incarnation that recorded the next attempt may un-fence. Before that, another incarnation may be about to
 * commit this one.
 */
function giveUp(desk: Desk, bounds: Bounds, out: ReadonlySet<Safeguard>): void {
  const { mover, index, may } = desk
  if (mover.attempt >= bounds.attempts) return
  if (out.has('un-fence known to the directory'))
    may(`mover ${index + 1} gives the attempt up`, (next) => Object.assign(next.movers[index]!, { place: GIVEN_UP }))
  else setRecord(desk, 'the next attempt', false, (next) => next.move.attempt++, GIVEN_UP)
}

const GIVEN_UP = 9

/**
 * Uses only the source. A fenced source whose attempt was given up takes writes again, as does the source of a move
 * that is being undone. After that, nothing can be done without the target.
 */
function release(desk: Desk, bounds: Bounds, out: ReadonlySet<Safeguard>): void {
  const { mover, index, source, may } = desk
  if (mover.sees === CUTOVER && mover.place === GIVING_UP) giveUp(desk, bounds, out)
  else if (mover.sees === CUTOVER && mover.place === GIVEN_UP) sendBatch(desk, 'un-fence', source)
  else if (mover.sees === ABORTING && mover.place === 0)
    sendBatch(desk, mover.reverse ? 'restore-reverse' : 'restore', source)
  else may(`mover ${index + 1} waits for the target`, (next) => next.movers.splice(index, 1, idleMover()))
}

const GIVING_UP = 8
/** In a state's key, a value separate from the modes. */
const ALONE = 4
/** A step that no database has. */
const NO_STEP = -1

// ── a batch arrives ───────────────────────────────────────────────────────────────────────────────

const stepCheckOf: Record<string, Safeguard> = {
  prepare: 'step check on data',
  import: 'step check on data',
  purge: 'step check on purge',
  'un-fence': 'step check on un-fence',
  activate: 'step check on activate',
}

function arrives(state: State, index: number, out: ReadonlySet<Safeguard>): void {
  const mover = state.movers[index]!
  const batch = mover.sent!
  mover.sent = null
  const database = state.databases[batch.at]!
  if (!applyBatch(database, batch, out)) {
    state.movers[index] = idleMover()
    return
  }
  mover.steps[batch.at] = database.step
  if (batch.kind === 'read' || batch.kind === 'fence')
    Object.assign(mover, { mask: database.mask, keys: database.keys })
  mover.place = batch.kind === 'un-fence' ? 0 : mover.place + 1
}

function lateArrives(state: State, out: ReadonlySet<Safeguard>): void {
  const batch = state.late!
  state.late = null
  applyBatch(state.databases[batch.at]!, batch, out)
}

/** One transaction: the step, the from-state, the effect. False if nothing was applied. */
function applyBatch(database: Database, batch: Batch, out: ReadonlySet<Safeguard>): boolean {
  const isChecked = !out.has(stepCheckOf[batch.kind] ?? ('' as Safeguard))
  if (isChecked && database.step !== batch.expected) return false
  if (!effect(database, batch, out)) return false
  database.step++
  return true
}

function effect(database: Database, { kind, of, mask, keys }: Batch, out: ReadonlySet<Safeguard>): boolean {
  const turn = (from: number[], to: number): boolean => {
    if (!from.includes(database.slot)) return false
    database.slot = to
    if (of > 0) database.of = of
    if (to !== MOVING && to !== FENCED) database.of = 0
    return true
  }
  const clear = () => Object.assign(database, { has: false, mask: 0, keys: 0 })
  switch (kind) {
    case 'prepare':
      return turn([NONE, IMPORTING], IMPORTING) && Boolean(clear())
    case 'prepare-reverse':
      return turn([MOVED, IMPORTING], IMPORTING)
    case 'capture':
      return turn([ACTIVE, MOVING], MOVING)
    case 'read':
      return database.slot === MOVING || database.slot === FENCED
    case 'import':
      if (database.slot !== IMPORTING) return false
      Object.assign(database, { has: true, mask, keys: out.has('idempotency keys travel') ? database.keys : keys })
      return true
    case 'fence':
      return turn([MOVING, FENCED], FENCED)
    case 'un-fence':
      return turn([FENCED, MOVING], MOVING)
    case 'activate':
      return turn([IMPORTING, MOVING], MOVING)
    case 'retire':
      return turn([FENCED, MOVED], MOVED)
    case 'purge':
      // The window is open, so the row triggers let the mover write if the slot is moved or importing.
      if (database.slot !== MOVED && database.slot !== IMPORTING && database.slot !== NONE) return false
      return Boolean(clear())
    case 'forget':
      return turn([MOVED, NONE], NONE)
    case 'finish':
      return turn([MOVING, ACTIVE], ACTIVE)
    case 'restore':
      return turn([ACTIVE, MOVING, FENCED], ACTIVE)
    case 'drop':
      return turn([IMPORTING, NONE], NONE) && Boolean(clear())
    case 'restore-reverse':
      return turn([MOVING, FENCED], MOVING)
    case 'drop-reverse':
      if (!turn([IMPORTING, MOVED], MOVED)) return false
      if (out.has('abort of a reverse keeps the rows')) clear()
      return true
    default:
      throw new Error(`no batch of kind ${kind}`)
  }
}

// ── what must hold in every state ─────────────────────────────────────────────────────────────────

/** The invariant that a state violates, or null. */
export function violation(state: State, out: ReadonlySet<Safeguard>): string | null {
  const { databases, acked, owner, leases, left } = state
  const holds = ({ has, mask }: Database, writes: number) => has && (mask & writes) === writes
  const isWritable = ({ slot }: Database) => slot === ACTIVE || slot === MOVING
  if (databases.every(isWritable)) return 'M1: two shards take writes'
  if (!holds(databases[owner]!, acked)) return 'M2: the owner does not hold every acknowledged write'
  if (databases.some(({ mask }) => mask & DOUBLED)) return 'M3: a write was applied twice'
  for (const database of databases) {
    const answersExactly =
      isWritable(database) || (out.has('exact reads refused by a fenced source') && database.slot === FENCED)
    if (answersExactly && !holds(database, acked)) return 'M4: an exact read is behind an acknowledged write'
  }
  for (const at of [0, 1]) {
    const mayBeRead =
      leases[at] ||
      (out.has('lease read checked on arrival') && at !== owner && state.move.state !== PLANNED && left[at]! > 0)
    if (at !== owner && mayBeRead && !holds(databases[at]!, left[at]!))
      return 'M4: a lease read misses a row because of a move'
  }
  const { state: moveState, reverse, source } = state.move
  const reads = moveState === CATCHING_UP || moveState === CUTOVER || (reverse && moveState === PREPARING)
  if (reads && databases[source]!.slot === ACTIVE)
    return 'M6: the source takes writes that are not captured, so the move can neither cut over nor be undone'
  if (state.move.state === DONE && databases[1 - owner]!.has) return 'M7: a row outside its owner after the move'
  return null
}

/** A readable form of a state. */
export function describeState({ databases, owner, move, acked }: State): string {
  const database = (at: number) => {
    const { slot, step, has, mask } = databases[at]!
    return `${name(at)}: ${slotNames[slot]}, step ${step}, ${has ? `row {${mask.toString(2)}}` : 'no row'}`
  }
  const record = `${moveNames[move.state]}${move.reverse ? ' (reverse)' : ''}, attempt ${move.attempt}`
  return `${database(0)} | ${database(1)} | owner ${name(owner)} | ${record} | acknowledged {${acked.toString(2)}}`
}

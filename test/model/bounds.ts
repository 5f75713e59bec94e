import type { Bounds, Safeguard } from './protocol.ts'

/** The smallest world: one mover that may crash and restart, one writer, one cutover attempt, one move. */
export const smallest: Bounds = {
  moves: 1,
  raises: 3,
  aborts: 0,
  reverses: 0,
  stops: 0,
  attempts: 1,
  tries: 1,
  movers: 1,
  writers: 1,
}

/** For each safeguard, the smallest bounds in which the model finds the violation without it. */
export const mutants: Record<Safeguard, Partial<Bounds>> = {
  'step check on data': {},
  'step check on purge': { movers: 2, moves: 2 },
  'step check on un-fence': { attempts: 2 },
  'step check on activate': { movers: 2, moves: 2 },
  'step row stays': { movers: 2, moves: 2 },
  'un-fence known to the directory': { movers: 2, attempts: 2 },
  'commit after the fence': {},
  'activate after the commit': {},
  'final drain': {},
  'idempotency keys travel': { tries: 2 },
  guard: {},
  'raised steps are still the incarnation’s own': { movers: 2, attempts: 2 },
  'exact reads refused by a fenced source': {},
  'abort of a reverse keeps the rows': { reverses: 1, aborts: 1 },
  'lease read checked on arrival': {},
  'purge waits for the leases': {},
  'reverse keeps the same record': { reverses: 1 },
  'capture stops after it is recorded': { reverses: 1, stops: 1 },
  'reverse refused once the capture stopped': { reverses: 1, stops: 1 },
  'stop of the capture names its move': { moves: 2, stops: 1 },
}

/** Safeguards whose search takes seconds: two incarnations over two moves. */
export const isSlow = (safeguard: Safeguard): boolean =>
  mutants[safeguard].moves === 2 && mutants[safeguard].movers === 2

/** Worlds that are explored completely with every safeguard in place: small ones, and ones that take a minute. */
export const quickWorlds: Partial<Bounds>[] = [
  { attempts: 2, tries: 2, aborts: 1, reverses: 1 },
  { moves: 2, aborts: 1 },
  { movers: 2 },
  { reverses: 1, aborts: 1, stops: 1 },
  { moves: 2, stops: 1 },
]
export const slowWorlds: Partial<Bounds>[] = [
  { movers: 2, attempts: 2, aborts: 1, writers: 2 },
  { movers: 2, moves: 2 },
  { movers: 2, reverses: 1 },
  { movers: 2, reverses: 1, stops: 1 },
]

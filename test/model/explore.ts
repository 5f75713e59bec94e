import { type Bounds, firstState, keyOf, type Safeguard, type State, successors, violation } from './protocol.ts'

export interface Exploration {
  states: number
  /** What was violated, and the steps that lead there. Null if every reachable state is sound. */
  found: { violation: string; trace: string[]; state: State } | null
}

interface Visited {
  state: State | null // dropped once its successors are known
  label: string
  before: number
}

/** Explores every state that is reachable within the bounds, breadth first, so that a trace is as short as possible. */
export function explore(bounds: Bounds, out: ReadonlySet<Safeguard> = new Set()): Exploration {
  const first: Visited = { state: firstState(), label: 'start', before: -1 }
  const absolute = out.has('step row stays')
  const seen = new Set([keyOf(firstState(), absolute)])
  const queue: Visited[] = [first]
  for (let at = 0; at < queue.length; at++) {
    const { state } = queue[at]!
    queue[at]!.state = null
    for (const { label, state: next } of successors(state!, bounds, out)) {
      const key = keyOf(next, absolute)
      if (seen.has(key)) continue
      seen.add(key)
      queue.push({ state: next, label, before: at })
      const broken = violation(next, out)
      if (broken)
        return { states: seen.size, found: { violation: broken, trace: traceTo(queue, queue.length - 1), state: next } }
    }
  }
  return { states: seen.size, found: null }
}

function traceTo(queue: Visited[], index: number): string[] {
  const labels: string[] = []
  for (let at = index; at > 0; at = queue[at]!.before) labels.push(queue[at]!.label)
  return labels.reverse()
}

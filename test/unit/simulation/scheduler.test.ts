import { describe, expect, test } from 'vitest'
import { Scheduler } from '../../simulation/scheduler.ts'
import { seededRandom } from '../../support/sharding-doubles.ts'

const seeded = (seed = 1) => new Scheduler(seededRandom(seed))
const eventsMax = 10_000

describe('order', () => {
  test('events run in the order of their time, and events of the same time in the order of creation', async () => {
    const scheduler = seeded()
    const start = scheduler.now()
    const ran: [string, number][] = []
    const note = (name: string) => () => void ran.push([name, scheduler.now() - start])
    scheduler.after(20, note('twenty'))
    scheduler.after(10, note('ten'))
    scheduler.after(10, note('ten again'))
    scheduler.after(0, () => {
      note('zero')()
      scheduler.after(10, note('ten, made last'))
      scheduler.after(0, note('zero, made by zero'))
    })
    expect(await scheduler.run({ isDone: () => ran.length === 6, eventsMax })).toBe(6)
    expect(ran).toEqual([
      ['zero', 0],
      ['zero, made by zero', 0],
      ['ten', 10],
      ['ten again', 10],
      ['ten, made last', 10],
      ['twenty', 20],
    ])
  })

  test('a thousand events at random times run in order', async () => {
    const scheduler = seeded()
    const made: { at: number; index: number }[] = []
    const ran: typeof made = []
    for (let index = 0; index < 1_000; index++) {
      const event = { at: scheduler.between(0, 100), index }
      made.push(event)
      scheduler.after(event.at, () => ran.push(event))
    }
    await scheduler.run({ isDone: () => ran.length === made.length, eventsMax })
    expect(ran).toEqual(made.toSorted((one, other) => one.at - other.at || one.index - other.index))
  })

  test.each([-1, Number.NaN, Infinity])('an event due in %s ms is refused', (ms) => {
    expect(() => seeded().after(ms, () => undefined)).toThrow('an event can’t be')
  })
})

describe('microtasks', () => {
  test('a chain of 50 awaits ends before the next event of the same time, and before afterEach', async () => {
    const scheduler = seeded()
    const trace: string[] = []
    scheduler.after(5, async () => {
      for (let link = 0; link < 50; link++) await null
      trace.push('the chain ends')
    })
    scheduler.after(5, () => void trace.push('the next event'))
    await scheduler.run({
      isDone: () => trace.length >= 4,
      afterEach: () => void trace.push('after each'),
      eventsMax,
    })
    expect(trace).toEqual(['the chain ends', 'after each', 'the next event', 'after each'])
  })

  test('a process started before the run creates its first events, however many awaits it needs', async () => {
    const scheduler = seeded()
    let isDone = false
    const started = (async () => {
      for (let link = 0; link < 50; link++) await null
      await scheduler.sleep(1_000)
      isDone = true
    })()
    expect(await scheduler.run({ isDone: () => isDone, eventsMax })).toBe(1)
    await started
  })

  test('Node’s own loop turns between two runs, so that a sweep over seeds does not starve it', async () => {
    let turned = false
    setImmediate(() => {
      turned = true
    })
    await seeded().run({ isDone: () => true, eventsMax })
    expect(turned).toBe(true)
  })
})

describe('the end of a run', () => {
  test('it stops when it is done; a later run continues with the remaining events', async () => {
    const scheduler = seeded()
    const ran: number[] = []
    for (const ms of [1, 2, 3]) scheduler.after(ms, () => void ran.push(ms))
    expect(await scheduler.run({ isDone: () => ran.length === 2, eventsMax })).toBe(2)
    expect(ran).toEqual([1, 2])
    expect(await scheduler.run({ isDone: () => ran.length === 3, eventsMax })).toBe(1)
  })

  test('a run with no events left that is not done throws, because all processes wait for each other', async () => {
    const scheduler = seeded()
    scheduler.after(1, () => undefined)
    await expect(scheduler.run({ isDone: () => false, eventsMax })).rejects.toThrow('no event is left after 1')
  })

  test('an endless run stops at eventsMax', async () => {
    const scheduler = seeded()
    let count = 0
    const again = () => {
      count++
      scheduler.after(1, again)
    }
    again()
    await expect(scheduler.run({ isDone: () => false, eventsMax: 7 })).rejects.toThrow('not done after 7 events')
    expect(count).toBe(8)
  })

  test('an event that throws ends the run', async () => {
    const scheduler = seeded()
    scheduler.after(1, () => {
      throw new Error('in an event')
    })
    await expect(scheduler.run({ isDone: () => false, eventsMax })).rejects.toThrow('in an event')
  })

  test('an afterEach that throws ends the run', async () => {
    const scheduler = seeded()
    scheduler.after(1, () => undefined)
    scheduler.after(2, () => undefined)
    const afterEach = () => {
      throw new Error('does not hold')
    }
    await expect(scheduler.run({ isDone: () => false, afterEach, eventsMax })).rejects.toThrow('does not hold')
  })
})

describe('draws', () => {
  /** Ten processes that wait, draw and wait again. Returns who did what when. */
  async function traceOf(seed: number): Promise<string> {
    const scheduler = seeded(seed)
    const trace: string[] = []
    let left = 10
    for (let process = 0; process < left; process++)
      void (async () => {
        for (let step = 0; step < 10; step++) {
          await scheduler.sleep(scheduler.chance(0.3) ? scheduler.below(5) : scheduler.between(10, 20))
          trace.push(`${process}.${step}@${scheduler.now()} ${scheduler.pick(['a', 'b', 'c'])}`)
        }
        left--
      })()
    await scheduler.run({ isDone: () => left === 0, eventsMax })
    return trace.join('\n')
  }

  test('one seed gives one order, and another seed another order', async () => {
    const first = await traceOf(1)
    expect(await traceOf(1)).toBe(first)
    expect(await traceOf(2)).not.toBe(first)
  })

  test('draws stay within their bounds, and reach them', () => {
    const scheduler = seeded()
    const drawn = (draw: () => number) => [...new Set(Array.from({ length: 500 }, draw))].sort()
    expect(drawn(() => scheduler.below(3))).toEqual([0, 1, 2])
    expect(drawn(() => scheduler.between(4, 6))).toEqual([4, 5, 6])
    expect(drawn(() => scheduler.pick([7, 8]))).toEqual([7, 8])
    expect(drawn(() => Number(scheduler.chance(0)))).toEqual([0])
    expect(drawn(() => Number(scheduler.chance(1)))).toEqual([1])
    expect(() => scheduler.pick([])).toThrow('nothing to pick from')
  })

  test('another probability does not change the draws after it', () => {
    const drawAfter = (probability: number) => {
      const scheduler = seeded()
      scheduler.chance(probability)
      return scheduler.below(1_000_000)
    }
    expect(drawAfter(0)).toBe(drawAfter(1))
  })
})

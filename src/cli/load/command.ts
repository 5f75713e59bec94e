import { addressOf, type Connection } from '../client.ts'
import type { Command, Output } from '../command.ts'
import { UserError } from '../errors.ts'
import type { OptionValues } from '../options.ts'
import { decimalOf } from '../whole-number.ts'
import { openMoves } from './leases.ts'
import { LiveFigures } from './live.ts'
import { reportText } from './report.ts'
import { REQUESTS_MAX, runLoad } from './run.ts'

const SEED_MAX = 2 ** 32 - 1
const DURATION_S_MAX = 86_400

/** `load`: sends requests, then reads back what was acknowledged. Ctrl-C ends the sending only; twice, all of it. */
async function load(connect: () => Connection, _operands: string[], options: OptionValues): Promise<Output> {
  const settings = readSettings(options)
  const stop = new AbortController()
  const onInterrupt = () => {
    live.say('Stopping: requests under way are waited for, and what was written is read back. Ctrl-C again gives up.')
    stop.abort()
  }
  const live = new LiveFigures(process.stderr)
  process.once('SIGINT', onInterrupt)
  try {
    const report = await runLoad({
      ...settings,
      findMoves: openMoves(connect),
      until: stop.signal,
      onTick: (tick) => live.show(tick),
      onProgress: (stage, done, of) => live.showProgress(stage, done, of),
    })
    return { json: report, text: reportText(report), isFailure: !report.isSound }
  } finally {
    live.end()
    process.off('SIGINT', onInterrupt)
  }
}

/** The options as numbers. Throws UserError where one is out of bounds. */
export function readSettings(options: OptionValues) {
  const isEndless = options['until-stopped'] === true
  if (isEndless && options.duration !== undefined)
    throw new UserError('--until-stopped and --duration exclude each other.', 'Leave one of them out.')
  const rate = numberOf('rate', options.rate ?? '50', { least: 0.1, most: 2_000 })
  const seconds = numberOf('duration', options.duration ?? '30', { least: 1, most: DURATION_S_MAX })
  if (!isEndless && rate * seconds > REQUESTS_MAX)
    throw new UserError(
      `--rate ${rate} for --duration ${seconds} is more than ${REQUESTS_MAX.toLocaleString('en')} requests.`,
      'Take a lower rate, or a shorter time.',
    )
  return {
    url: addressOf(options),
    rate,
    ...(isEndless ? {} : { durationMs: seconds * 1_000 }),
    users: numberOf('users', options.users ?? '20', { least: 1, most: 1_000, isWhole: true }),
    reads: numberOf('reads', options.reads ?? '0.9', { least: 0, most: 1 }),
    seed: numberOf('seed', options.seed ?? String(drawnSeed()), { least: 0, most: SEED_MAX, isWhole: true }),
  }
}

function numberOf(name: string, text: string, bounds: { least: number; most: number; isWhole?: boolean }): number {
  const number = decimalOf(text)
  const { least, most, isWhole } = bounds
  if (number !== null && number >= least && number <= most && (!isWhole || Number.isInteger(number))) return number
  const range = `from ${least.toLocaleString('en')} to ${most.toLocaleString('en')}`
  throw new UserError(`--${name} is "${text}".`, `It takes a ${isWhole ? 'whole ' : ''}number ${range}.`)
}

const drawnSeed = (): number => crypto.getRandomValues(new Uint32Array(1))[0]!

export const loadCommands: Record<string, Command> = {
  load: {
    operands: [],
    options: ['rate', 'duration', 'until-stopped', 'users', 'reads', 'seed'],
    run: load,
  },
}

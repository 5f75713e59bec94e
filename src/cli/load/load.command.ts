import { defineCommand } from '../shell/command.ts'
import { openMoves } from './leases.ts'
import { LiveFigures } from './live.ts'
import { reportText } from './report.ts'
import { runLoad } from './run.ts'
import { loadOptions, readSettings } from './settings.ts'

export const command = defineCommand({
  name: 'load',
  summary: 'signs users up, sends requests at a rate, and reads back what was acknowledged',
  details: `It reads back as soon as no move’s source may answer: 41 s after the last write, unless a token tells of no moves.
Ctrl-C ends the sending only; twice, all of it.`,
  options: loadOptions,
  examples: ['load --rate 200 --duration 60', 'load --until-stopped --reads 0.5'],
  async run(connect, _operands, options) {
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
  },
})

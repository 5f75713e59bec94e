import { defineCommand } from '../shell/command.ts'
import { openMoves } from './leases.ts'
import { LiveFigures } from './live.ts'
import { reportText } from './report.ts'
import { runLoad } from './run.ts'
import { loadOptions, readSettings } from './settings.ts'

export const command = defineCommand({
  name: 'load',
  summary: 'signs up users, sends requests at a fixed rate, and reads back all acknowledged writes',
  details:
    'Each run creates new users. Reading back starts 41 s after the last write, because a move’s source may answer until then. It ' +
    'starts sooner if the operators’ API shows that no move is settling. Ctrl-C stops the requests; a second Ctrl-C stops the command.',
  options: loadOptions,
  examples: ['load --rate 200 --duration 60', 'load --until-stopped --reads 0.5'],
  async run(connect, _operands, options) {
    const settings = readSettings(options)
    const stop = new AbortController()
    const onInterrupt = () => {
      live.say('Stopping: waiting for open requests, then reading back the writes. Press Ctrl-C again to give up.')
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

import { defineCommand } from '../shell/command.ts'
import { table } from '../shell/table.ts'
import { ADVICE, failedOf, failedText, passedText, probe } from './probe.ts'

export const command = defineCommand({
  name: 'probe',
  summary: 'checks that the deployed version understands the refusals of each of its databases',
  details:
    'It sends each database batches that the database must refuse, and writes nothing. deploy ends with a probe.',
  async run(connect) {
    const report = await probe(connect())
    const failed = failedOf(report)
    if (failed.length > 0) return { json: report, text: `${failedText(report, failed)}\n${ADVICE}`, isFailure: true }
    const rows = report.items.map((item) => [item.binding, item.case, item.met])
    return { json: report, text: `${table(['database', 'case', 'refused as'], rows, 3)}\n\n${passedText(report)}` }
  },
})

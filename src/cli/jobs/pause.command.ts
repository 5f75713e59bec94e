import { defineCommand } from '../shell/command.ts'
import { kindOperands, queueOptions, steering } from './requests.ts'

export const command = defineCommand({
  name: 'jobs pause',
  summary: 'pauses kinds of jobs or a queue; the jobs wait and are not lost',
  details:
    'Idempotent. Consumers stop within 5 s; an attempt that runs is not interrupted. Changes that create jobs continue.',
  operands: kindOperands,
  options: queueOptions,
  examples: ['jobs pause cache.purge', 'jobs pause --queue mail'],
  run: steering('pause', 'is paused. Its jobs wait until: npm run banyan -- jobs resume'),
})

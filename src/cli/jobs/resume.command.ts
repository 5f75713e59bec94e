import { defineCommand } from '../shell/command.ts'
import { kindOperands, queueOptions, steering } from './requests.ts'

export const command = defineCommand({
  name: 'jobs resume',
  summary: 'resumes paused kinds of jobs or a paused queue',
  details: 'Idempotent. The cron sends the waiting jobs from the next minute on, at most 200 per minute.',
  operands: kindOperands,
  options: queueOptions,
  examples: ['jobs resume cache.purge', 'jobs resume --queue mail'],
  run: steering('resume', 'is resumed. The cron sends the jobs that waited.'),
})

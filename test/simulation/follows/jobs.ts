import { followJobs } from '../../../src/app/follows/jobs.ts'

/** Found by its name: test/simulation/noun-jobs.ts. */
export const jobs = followJobs()

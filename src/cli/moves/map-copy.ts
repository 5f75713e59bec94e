import { limits } from '../../core/limits.ts'

/** A lease may begin with a data centre's copy of the map, which is up to 10 s old; and a second for clocks. */
export const MAP_COPY_MS = limits.mapDataCentreSecondsMax * 1_000 + limits.moveLeaseMarginMs

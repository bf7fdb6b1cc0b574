"""What the master tells the sidecar of its workers, for `catzillactl worker ls`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from google.protobuf import timestamp_pb2

from catzilla._master._generation import Generation
from catzilla._proto import route_service_pb2 as pb

_STATES: Final = {
    "starting": pb.WORKER_STATE_STARTING,
    "ready": pb.WORKER_STATE_STARTING,
    "attached": pb.WORKER_STATE_READY,
    "draining": pb.WORKER_STATE_DRAINING,
}


def report_of(generations: Sequence[Generation]) -> pb.WorkerReport:
    """REQUIRES: at least one; the last is the newest."""
    newest = generations[-1]
    report = pb.WorkerReport(
        last_error=newest.error, last_traceback=newest.traceback, preload_reason=newest.preload_reason
    )
    told = [generation for generation in generations if generation.table is not None]
    if told:
        serving = next((generation for generation in reversed(told) if generation.switched), told[-1])
        report.lanes.MergeFrom(pb.LaneCounts(**serving.lanes))
    for generation in generations:
        number = pb.WorkerProcess().generation
        if generation.ticket is not None:
            number.boot_epoch, number.number = generation.ticket.epoch, generation.ticket.generation
        for worker in generation.workers:
            place = generation.places[worker.index]
            report.workers.add(
                pid=worker.pid,
                state=_STATES[worker.state],
                generation=number,
                started=timestamp_pb2.Timestamp(seconds=int(worker.started)),
                restarts=place.restarts,
                last_error=place.last_error,
                last_traceback=place.last_traceback,
            )
        empty = set(range(len(generation.places))) - {worker.index for worker in generation.workers}
        for index in sorted(empty) if not generation.retiring else ():
            place = generation.places[index]
            error = place.last_error or generation.error
            if error:
                report.workers.add(
                    state=pb.WORKER_STATE_FAILED,
                    generation=number,
                    restarts=place.restarts,
                    last_error=error,
                    last_traceback=place.last_traceback or generation.traceback,
                )
    return report

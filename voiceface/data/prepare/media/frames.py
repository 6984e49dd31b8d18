"""Read the frames of a video at a few per second, upright and with square pixels, one at a time."""

import math
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from voiceface.data.prepare.media.rejected import Rejected

# As Pillow's limit for pictures.
MAXIMUM_PIXELS = 89_478_485
LOST_PACKETS = 0.01
# Times are rounded in the file: a frame this much too early is in time, seconds.
EARLY = 1e-3


def read_frames(path: Path, fps: float, maximum_seconds: float = 3600.0) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """Decode the first video stream of a file, and take the first frame of each 1 / fps seconds.

    Frames are turned upright by the file's own rotation and stretched to square pixels. One frame is in memory at a
    time; the decoder runs on one thread, because each process reads its own videos.

    Args:
        path: Video file.
        fps: Frames per second.
        maximum_seconds: Longer videos are refused, seconds: before they are decoded where they say how long they are.

    Yields:
        Seconds from the first frame, and the frame, RGB uint8 of shape (H, W, 3).

    Raises:
        Rejected: The file is unreadable, has no video stream, is too long, its pictures are too large (over 89
            megapixels), or more than 1 % of its packets do not decode. Frames that the decoder knows to be
            damaged are passed over; what it does not know of is used, as with pictures.
    """
    try:
        with path.open("rb") as file, av.open(file, "r", options={"protocol_whitelist": "none"}) as container:
            yield from _frames(container, fps, maximum_seconds)
    except (av.FFmpegError, OSError) as error:
        raise Rejected("video", f"unreadable ({error.strerror})") from error


def _frames(container: InputContainer, fps: float, maximum_seconds: float) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream) or av.stream.Disposition.attached_pic in stream.disposition:
        raise Rejected("video", "no video stream")
    _check_size(stream.width, stream.height)
    if (container.duration or 0) / av.time_base > maximum_seconds:
        raise Rejected("video", f"longer than {maximum_seconds:g} s")
    stream.codec_context.thread_count = 1
    shape = float(stream.sample_aspect_ratio or 1)
    start = None
    due = packets = lost = 0
    for packet in container.demux(stream):
        packets += bool(packet.size)
        try:
            frames = packet.decode()
        except av.FFmpegError:
            lost += 1
            continue
        for frame in frames:
            lost += frame.is_corrupt
            if frame.time is None or frame.is_corrupt:
                continue
            start = frame.time if start is None else start
            time = frame.time - start
            if time > maximum_seconds:
                raise Rejected("video", f"longer than {maximum_seconds:g} s")
            if time + EARLY < due / fps:
                continue
            due = math.floor((time + EARLY) * fps) + 1
            yield time, _upright(frame, shape)
    if lost > LOST_PACKETS * packets:
        raise Rejected("video", "damaged")


def _upright(frame: VideoFrame, shape: float) -> NDArray[np.uint8]:
    """Turn a frame into RGB, its pixels square and the way up that its file says."""
    _check_size(frame.width, frame.height)
    # Wider pixels: the width grows; no camera's are more than twice as wide as high, or the reverse.
    width = round(frame.width * shape) if 0.5 <= shape <= 2 else frame.width
    rgb = frame.reformat(width=width, format="rgb24").to_ndarray()
    return np.array(np.rot90(rgb, round(frame.rotation / 90)), np.uint8)


def _check_size(width: int, height: int) -> None:
    if width * height > MAXIMUM_PIXELS:
        raise Rejected("video", "picture too large (over 89 megapixels)")

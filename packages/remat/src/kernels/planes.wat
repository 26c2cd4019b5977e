;; SIMD kernels of convolutions whose channels are grouped: one plane of an image at a time. Addresses are in bytes, extents
;; in elements; `stride` is how far a window moves along a row, `down` from row to row. x is padded already: rows of `xw`
;; elements, so that no window passes an end. Rows of y and dy are `yw` elements, a multiple of 4; what lies behind their true end is computed too, and never read.
(module
  (import "env" "memory" (memory 1 64 shared))

  ;; Four elements of x from `at`, `stride` apart.
  (func $four (param $at i32) (param $stride i32) (result v128)
    (local $v v128)
    (local.set $v (v128.load (local.get $at)))
    (if (i32.eq (local.get $stride) (i32.const 2)) (then
      (local.set $v (i8x16.shuffle 0 1 2 3 8 9 10 11 16 17 18 19 24 25 26 27
        (local.get $v) (v128.load offset=16 (local.get $at))))))
    (if (i32.lt_u (i32.const 2) (local.get $stride)) (then
      (local.set $stride (i32.shl (local.get $stride) (i32.const 2)))
      (local.set $v (i8x16.shuffle 0 1 2 3 16 17 18 19 0 1 2 3 16 17 18 19
        (local.get $v) (v128.load32_splat (i32.add (local.get $at) (local.get $stride)))))
      (local.set $at (i32.add (local.get $at) (i32.shl (local.get $stride) (i32.const 1))))
      (local.set $v (i8x16.shuffle 0 1 2 3 4 5 6 7 16 17 18 19 20 21 22 23 (local.get $v)
        (i8x16.shuffle 0 1 2 3 16 17 18 19 0 1 2 3 16 17 18 19 (v128.load32_splat (local.get $at))
          (v128.load32_splat (i32.add (local.get $at) (local.get $stride))))))))
    (local.get $v))

  ;; y += x under the window w [kh, kw].
  (func $plane_forward (export "plane_forward")
    (param $x i32) (param $w i32) (param $y i32) (param $yw i32) (param $yh i32) (param $xw i32)
    (param $kw i32) (param $kh i32) (param $stride i32) (param $down i32)
    (local $end i32) (local $at i32) (local $row i32) (local $tap i32) (local $ky i32) (local $kx i32) (local $sum v128)
    (local.set $xw (i32.shl (local.get $xw) (i32.const 2)))
    (loop $rows
      (local.set $at (local.get $x))
      (local.set $end (i32.add (local.get $y) (i32.shl (local.get $yw) (i32.const 2))))
      (loop $fours
        (local.set $sum (v128.load (local.get $y)))
        (local.set $tap (local.get $w))
        (local.set $row (local.get $at))
        (local.set $ky (local.get $kh))
        (loop $taps
          (local.set $kx (i32.const 0))
          (loop $row_taps
            (local.set $sum (f32x4.add (local.get $sum) (f32x4.mul (v128.load32_splat (local.get $tap))
              (call $four (i32.add (local.get $row) (i32.shl (local.get $kx) (i32.const 2))) (local.get $stride)))))
            (local.set $tap (i32.add (local.get $tap) (i32.const 4)))
            (br_if $row_taps (i32.lt_u (local.tee $kx (i32.add (local.get $kx) (i32.const 1))) (local.get $kw))))
          (local.set $row (i32.add (local.get $row) (local.get $xw)))
          (br_if $taps (local.tee $ky (i32.sub (local.get $ky) (i32.const 1)))))
        (v128.store (local.get $y) (local.get $sum))
        (local.set $at (i32.add (local.get $at) (i32.shl (local.get $stride) (i32.const 4))))
        (br_if $fours (i32.lt_u (local.tee $y (i32.add (local.get $y) (i32.const 16))) (local.get $end))))
      (local.set $x (i32.add (local.get $x) (i32.mul (local.get $xw) (local.get $down))))
      (br_if $rows (local.tee $yh (i32.sub (local.get $yh) (i32.const 1))))))

  ;; dw [kh, kw] += the sums of dy times x under each place of the window; dy is 0 behind the true end of its rows.
  (func $plane_weights (export "plane_weights")
    (param $x i32) (param $dy i32) (param $dw i32) (param $yw i32) (param $yh i32) (param $xw i32)
    (param $kw i32) (param $kh i32) (param $stride i32) (param $down i32)
    (local $ky i32) (local $kx i32) (local $row i32) (local $at i32) (local $d i32) (local $end i32) (local $left i32) (local $sum v128)
    (local.set $xw (i32.shl (local.get $xw) (i32.const 2)))
    (local.set $ky (local.get $kh))
    (loop $taps
      (local.set $kx (i32.const 0))
      (loop $row_taps
        (local.set $sum (f32x4.splat (f32.const 0)))
        (local.set $row (i32.add (local.get $x) (i32.shl (local.get $kx) (i32.const 2))))
        (local.set $d (local.get $dy))
        (local.set $left (local.get $yh))
        (loop $rows
          (local.set $at (local.get $row))
          (local.set $end (i32.add (local.get $d) (i32.shl (local.get $yw) (i32.const 2))))
          (loop $fours
            (local.set $sum (f32x4.add (local.get $sum) (f32x4.mul (v128.load (local.get $d))
              (call $four (local.get $at) (local.get $stride)))))
            (local.set $at (i32.add (local.get $at) (i32.shl (local.get $stride) (i32.const 4))))
            (br_if $fours (i32.lt_u (local.tee $d (i32.add (local.get $d) (i32.const 16))) (local.get $end))))
          (local.set $row (i32.add (local.get $row) (i32.mul (local.get $xw) (local.get $down))))
          (br_if $rows (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
        (f32.store (local.get $dw) (f32.add (f32.load (local.get $dw))
          (f32.add (f32.add (f32x4.extract_lane 0 (local.get $sum)) (f32x4.extract_lane 1 (local.get $sum)))
            (f32.add (f32x4.extract_lane 2 (local.get $sum)) (f32x4.extract_lane 3 (local.get $sum))))))
        (local.set $dw (i32.add (local.get $dw) (i32.const 4)))
        (br_if $row_taps (i32.lt_u (local.tee $kx (i32.add (local.get $kx) (i32.const 1))) (local.get $kw))))
      (local.set $x (i32.add (local.get $x) (local.get $xw)))
      (br_if $taps (local.tee $ky (i32.sub (local.get $ky) (i32.const 1)))))))
